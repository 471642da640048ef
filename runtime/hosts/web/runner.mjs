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
      const passed = Math.max(0, now - before) / 1000;
      due = speed === Infinity ? Infinity : Math.min(due + passed * speed, Math.max(1, speed / 4));
      before = now;
      try {
        if (this.wantsReset) this.#startAnew();
        if (this.singles > 0) {
          this.singles -= 1;
          await this.#one();
        } else due = await this.#many(due, performance.now() + BUDGET);
      } catch (error) {
        this.onEnd(error);
      }
      this.#measure(now);
      this.onFrame(this);
    }
  }

  /** Run the steps that are due until a time; return those that are left. */
  async #many(due, end) {
    let left = due;
    while (this.running && left >= 1 && !this.wantsReset && performance.now() < end) {
      if (!(await this.#one())) return 0;
      left -= 1;
    }
    return this.running ? left : 0;
  }

  /** Run one step; return whether there was input for it. */
  async #one() {
    const at = this.take();
    if (!at) {
      if (this.source.ended) this.onEnd();
      return false;
    }
    const outputs = await this.run(at);
    this.steps = at.steps ?? this.steps + 1; // of a whole sequence, all
    this.window.steps += at.steps ?? 1;
    this.source.seen?.(outputs);
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
