"""The pages of the report, live while workers train. Reads the database and changes nothing."""
