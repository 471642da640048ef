// The loop that runs the model: it takes input from a source, so many steps in a second, and draws.

const BUDGET = 12; // milliseconds of a frame in which the model runs

export class Runner {
  /**
   * source: what gives the input; isLive: as fast as it comes; ended: no more will come.
   * take(): the next input as a function of port, step and column, null where there is none at
   * present. run(at): the outputs. onStep(outputs, at), onFrame(runner), onReset(): draw.
   * onEnd(error), which is set later: it paused by itself.
   */
  constructor(parts) {
    Object.assign(this, { onEnd() {} }, parts, { running: false, speed: 30, steps: 0, rate: 0 });
    this.singles = 0;
    this.wantsReset = false;
    this.window = { start: performance.now(), steps: 0 };
    this.#loop();
  }

  async #loop() {
    let [before, due] = [performance.now(), 0];
    for (;;) {
      const now = await new Promise(requestAnimationFrame);
      const speed = this.source.isLive ? Infinity : this.speed;
      due = Math.min(due + ((now - before) / 1000) * speed, Math.max(1, speed / 4));
      before = now;
      try {
        if (this.wantsReset) this.#startAnew();
        if (this.singles > 0) {
          this.singles -= 1;
          await this.#one();
        } else if (this.running) due -= await this.#many(Math.floor(due), performance.now() + BUDGET);
        else due = 0;
      } catch (error) {
        this.running = false;
        this.onEnd(error);
      }
      this.#measure(now);
      this.onFrame(this);
    }
  }

  async #many(due, end) {
    let done = 0;
    while (done < due && this.running && !this.wantsReset && performance.now() < end) {
      if (!(await this.#one())) return due === Infinity ? 0 : due;
      done += 1;
    }
    return due === Infinity ? 0 : done;
  }

  /** Run one step; return whether there was input for it. */
  async #one() {
    const { source } = this;
    const at = this.take();
    if (this.wantsReset) this.#startAnew();
    if (!at) {
      if (source.ended) {
        this.running = false;
        this.onEnd();
      }
      return false;
    }
    const outputs = await this.run(at);
    this.steps += 1;
    this.window.steps += 1;
    source.seen?.(outputs);
    this.onStep(outputs, at);
    return true;
  }

  #startAnew() {
    this.wantsReset = false;
    this.steps = 0;
    this.onReset();
  }

  #measure(now) {
    const passed = now - this.window.start;
    if (passed < 500) return;
    this.rate = (this.window.steps / passed) * 1000;
    this.window = { start: now, steps: 0 };
  }
}
