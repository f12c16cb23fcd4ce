'use strict';
// What a terminal client sends, made into lines, and what it negotiates, told
// apart from them. The Rust labs have the same in crates/telnet.

const IAC = 0xff;
const SB = 0xfa;
const SE = 0xf0;
const VERBS = { WILL: 0xfb, WONT: 0xfc, DO: 0xfd, DONT: 0xfe };
const COMMANDS = {
  EOF: 0xec, SUSP: 0xed, ABORT: 0xee, SE, NOP: 0xf1, DM: 0xf2, BRK: 0xf3,
  IP: 0xf4, AO: 0xf5, AYT: 0xf6, EC: 0xf7, EL: 0xf8, GA: 0xf9,
};
const OPTIONS = {
  BINARY: 0, ECHO: 1, 'SUPPRESS-GO-AHEAD': 3, STATUS: 5, 'TIMING-MARK': 6,
  'TERMINAL-TYPE': 24, NAWS: 31, 'TERMINAL-SPEED': 32,
  'TOGGLE-FLOW-CONTROL': 33, LINEMODE: 34, 'X-DISPLAY-LOCATION': 35,
  ENVIRON: 36, AUTHENTICATION: 37, ENCRYPT: 38, 'NEW-ENVIRON': 39,
};
const MAX_LINE = 4096;
const MAX_SUBNEGOTIATION = 64;

const CR = 0x0d;
const LF = 0x0a;

// The word for a number, if there is one.
function nameOf(words, number) {
  return Object.keys(words).find((word) => words[word] === number);
}

// Takes one byte after the other, and calls `tell` with what is finished:
// `{ line }`, `{ tooLong }`, `{ notUtf8 }`, `{ verb, option }`,
// `{ option, data }` and `{ command }`.
class Decoder {
  constructor(tell) {
    this.tell = tell;
    // The method that takes the next byte.
    this.next = this.text;
    this.forget();
  }

  push(chunk) {
    for (const byte of chunk) this.next(byte);
  }

  // No more bytes will come: what is there is a last line.
  finish() {
    if (this.line.length > 0) this.tellLine();
  }

  text(byte) {
    if (byte === IAC) this.next = this.order;
    else this.data(byte);
  }

  order(byte) {
    this.next = this.text;
    const verb = nameOf(VERBS, byte);
    if (byte === IAC) {
      this.data(byte);
    } else if (byte === SB) {
      this.next = this.subnegotiation;
    } else if (verb !== undefined) {
      this.next = (option) => {
        this.next = this.text;
        this.tell({ verb, option });
      };
    } else {
      if (byte === COMMANDS.EC) this.eraseCharacter();
      if (byte === COMMANDS.EL) this.forget();
      this.tell({ command: byte });
    }
  }

  subnegotiation(option) {
    if (option === IAC) {
      this.next = this.order;
      return;
    }
    const data = [];
    let isTooLong = false;
    const keep = (byte) => {
      if (data.length < MAX_SUBNEGOTIATION) data.push(byte);
      else isTooLong = true;
    };
    const inside = (byte) => {
      if (byte === IAC) this.next = insideOrder;
      else keep(byte);
    };
    const insideOrder = (byte) => {
      if (byte === IAC) {
        this.next = inside;
        keep(byte);
      } else if (byte === SE) {
        this.next = this.text;
        this.tell(isTooLong ? { tooMuchOf: option } : { option, data });
      } else {
        // Another order: this one was never finished.
        this.order(byte);
      }
    };
    this.next = inside;
  }

  // A line ends with LF, or with CR; a LF or NUL right after the CR is its own.
  data(byte) {
    const isAfterCr = this.isAfterCr;
    this.isAfterCr = byte === CR;
    if (isAfterCr && (byte === LF || byte === 0)) return;
    if (byte === CR || byte === LF) {
      if (!this.isDropped) this.tellLine();
      this.isDropped = false;
    } else if (!this.isDropped && this.line.length === MAX_LINE) {
      this.line = [];
      this.isDropped = true;
      this.tell({ tooLong: true });
    } else if (!this.isDropped) {
      this.line.push(byte);
    }
  }

  tellLine() {
    const bytes = Buffer.from(this.line);
    this.line = [];
    try {
      const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
      this.tell({ line: utf8.decode(bytes) });
    } catch (error) {
      if (error.code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
      this.tell({ notUtf8: bytes });
    }
  }

  forget() {
    this.line = [];
    this.isDropped = false;
  }

  eraseCharacter() {
    let byte = this.line.pop();
    // 10xxxxxx: not yet the first byte of a character.
    while ((byte & 0xc0) === 0x80) byte = this.line.pop();
  }
}

// What a client may do, has been asked to do, and does.
class Negotiation {
  constructor(accepted) {
    this.accepted = accepted;
    this.asked = new Set();
    this.open = new Set();
    this.on = new Set();
  }

  // The word to answer with; what changes nothing is not answered.
  answer(verb, option) {
    if (verb === 'DO') {
      return option === OPTIONS['TIMING-MARK'] ? 'WILL' : 'WONT';
    }
    if (verb === 'DONT') return undefined;
    const isAnswer = this.open.delete(option);
    if (verb === 'WONT') return this.on.delete(option) ? 'DONT' : undefined;
    if (!this.accepted.includes(option)) return 'DONT';
    const isNew = !this.on.has(option);
    this.on.add(option);
    return isNew && !isAnswer ? 'DO' : undefined;
  }

  // Whether to ask for this: once, and not for what is there already.
  ask(option) {
    if (this.asked.has(option) || this.on.has(option)) return false;
    this.asked.add(option);
    this.open.add(option);
    return true;
  }
}

module.exports = {
  COMMANDS, Decoder, IAC, MAX_LINE, Negotiation, OPTIONS, SB, SE, VERBS, nameOf,
};
