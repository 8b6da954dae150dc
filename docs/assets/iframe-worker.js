// Browsers start no worker for a page that is opened from the disk, and the search of these pages asks for one: a hidden
// frame runs the worker's script in its place. Served by a web server, the pages have real workers.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      // Written, not left empty: Firefox would replace an empty document once it has loaded.
      this.inside.document.open();
      this.inside.document.write("<!DOCTYPE html><html lang='en'><body></body></html>");
      this.inside.document.close();
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) }));
      this.inside.importScripts = (...urls) => urls.reduce((before, each) => before.then(() => this.run(each)), Promise.resolve());
      this.ready = this.run(url);
    }

    /** Run a script in the frame; fulfilled once it has run. */
    run(url) {
      return new Promise((done, failed) => {
        const script = this.inside.document.createElement("script");
        Object.assign(script, { src: url, onload: done, onerror: failed });
        this.inside.document.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data: structuredClone(data) })));
    }

    terminate() {
      this.inside.frameElement.remove();
    }
  };
}
