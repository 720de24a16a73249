/**
 * The page's connection to what happens: the server's socket where it gets through, questions every second or so where
 * it does not (proxies, virus scanners and old gateways let HTTP through, but no WebSocket). One takes over from the
 * other without a word: what is lost is told only when the server answers neither.
 */

import { socketAddress } from './address.js';

const FIRST = 1_500; // ms until a socket that has said nothing is helped out by questions
const SILENCE = 25_000; // ms; the server says something every 10 s, so that this socket is dead
const OPENING = 10_000; // ms; some proxies neither admit a socket nor refuse it
const STABLE = 5_000; // ms; a socket that lasts less gets no quick next try
const BUSY = 1_000; // ms between questions while something is made
const IDLE = 3_000;
const QUICK = 500; // ms until the next try of a socket, growing
const SLOW = 30_000;

/**
 * @typedef {{onEvent: (event: any) => void, onConnected: () => Promise<any>, ask: () => Promise<boolean>,
 *   onLost: (error: Error) => void}} Handlers `ask` reads all anew and tells whether something is being made
 */

export class Connection {
  /** @type {?WebSocket} */
  #socket = null;
  #isLive = false; // a message came through this socket
  #isLost = false;
  #isAsking = false;
  #delay = QUICK;
  #timers = { ask: 0, silence: 0, retry: 0 };

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.handlers = handlers;
    this.#open();
    this.#askAfter(FIRST);
    // Timers sleep in hidden pages and sleeping machines.
    document.addEventListener('visibilitychange', () => document.hidden || this.#wake());
    addEventListener('online', () => this.#wake());
    addEventListener('pageshow', (event) => event.persisted && this.#wake());
  }

  #after(name, delay, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, delay);
  }

  #wake() {
    if (!this.#socket) this.#after('retry', 0, () => this.#open());
    if (!this.#isLive) this.#askAfter(0);
  }

  #open() {
    if (this.#socket) return;
    let socket;
    try {
      socket = new WebSocket(socketAddress('/api/events'));
    } catch {
      this.#closed(null, 0); // switched off, or forbidden
      return;
    }
    this.#socket = socket;
    const opened = performance.now();
    const close = () => this.#closed(socket, performance.now() - opened);
    this.#after('silence', OPENING, close);
    socket.onmessage = (message) => this.#heard(socket, message, close);
    socket.onclose = close;
    socket.onerror = close;
  }

  #heard(socket, message, close) {
    if (socket !== this.#socket) return;
    let event;
    try {
      event = JSON.parse(message.data);
    } catch {
      return; // not from our server
    }
    this.#after('silence', SILENCE, close);
    if (!this.#isLive) {
      this.#isLive = true;
      clearTimeout(this.#timers.ask);
      // What happened before; if it cannot be read, it is asked for until it can.
      this.handlers.onConnected().catch(() => this.#askAfter(QUICK, true));
    }
    this.#isLost = false;
    this.handlers.onEvent(event);
  }

  /** @param {?WebSocket} socket @param {number} lasted ms */
  #closed(socket, lasted) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    clearTimeout(this.#timers.silence);
    const wasLive = this.#isLive;
    this.#isLive = false;
    try {
      socket?.close();
    } catch {
      // It is none of ours any more.
    }
    if (wasLive && lasted > STABLE) this.#delay = QUICK;
    this.#after('retry', this.#delay, () => this.#open());
    this.#delay = Math.min(this.#delay * 1.6, SLOW);
    if (wasLive) this.#askAfter(0);
  }

  #askAfter(delay, evenLive = false) {
    this.#after('ask', delay, () => this.#ask(evenLive));
  }

  async #ask(evenLive) {
    if (this.#isAsking || (this.#isLive && !evenLive)) return;
    this.#isAsking = true;
    let next = BUSY;
    let unread = false;
    try {
      next = (await this.handlers.ask()) ? BUSY : IDLE;
      if (this.#isLost) {
        this.#isLost = false;
        this.#delay = QUICK; // it is back: so may be its socket
        if (!this.#socket) this.#after('retry', 0, () => this.#open());
      }
    } catch (error) {
      this.#isLost = true;
      unread = evenLive;
      this.handlers.onLost(error);
    } finally {
      this.#isAsking = false;
    }
    if (!this.#isLive || unread) this.#askAfter(next, unread);
  }

  /** Asks at once where no socket tells: something was just begun or changed. */
  hurry() {
    if (!this.#isLive) this.#askAfter(0);
  }
}
