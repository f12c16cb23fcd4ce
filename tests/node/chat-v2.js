'use strict';
// A chat room with commands, and one write for all that is said at once.
//
//   terminal 1     node tests/node/chat-v2.js
//   terminals 2-4  telnet 127.0.0.1 8088       (or: nc 127.0.0.1 8088)
//
// The same program in Rust is labs/chat-v2: same flags, same story. Type `help`.
// Then, in `say`, call `endTurn` at once, and count the writes with `strace`.

const net = require('node:net');
const {
  quote, reason, serverFailed, showAddress, story, warnUnlessLoopback,
  whenAskedToEnd,
} = require('./common.js');
const {
  flag, hostPort, numberUpTo, parseFlags, time,
} = require('./flags.js');
const {
  COMMANDS, Decoder, IAC, MAX_LINE, Negotiation, OPTIONS, VERBS,
} = require('./telnet-codec.js');

const flags = parseFlags('A chat room with commands, and one write for all that is said at once.\n\n' +
  'b:TEXT is for all others, c:NAME:TEXT for one, n:NAME gives another name,\n' +
  'and help tells the rest.', '', {
  listen: flag(
    'HOST:PORT', hostPort,
    'Address to listen on; port 0 takes any free port', '127.0.0.1:8088',
  ),
  rate: flag(
    'N', numberUpTo(1_000_000),
    'How many lines a second a client may say for long', '10',
  ),
  'gone-after': flag(
    'TIME', time,
    'How long a client may be silent until the kernel asks for it, twice',
    '50s',
  ),
  grace: flag(
    'TIME', time,
    'How long a client may take to read the last lines and to end', '5s',
  ),
});

// The most bytes that wait for one client.
const LIMIT = 64 * 1024;
// So many lines may come at once: somebody pastes a page.
const AT_ONCE = 20;
// Nobody may seem to speak for the room, or for everybody.
const RESERVED = [
  'admin', 'all', 'anonymous', 'everybody', 'nobody', 'room', 'root', 'server',
  'system', 'you',
];

// When so many bytes are said, it is time to write: half of the limit, so that
// nobody is put out by a single turn.
const FULL = 32 * 1024;
// The most members that `l` lists.
const LISTED = 100;
const HELP = [
  '* b:TEXT       says TEXT to all others',
  '* c:NAME:TEXT  says TEXT to NAME alone',
  '* n:NAME       is your name from then on',
  '* l            lists who is here, and from where',
  '* help         tells this',
  '* quit         leaves',
];

const server = net.createServer({ allowHalfOpen: true, noDelay: true });
// All who are connected, in the order in which they came.
const members = new Set();

server.on('listening', () => {
  const { address, port } = server.address();
  story(`listening on ${showAddress(address, port)}`);
  warnUnlessLoopback({ address, port });
});
server.on('connection', (socket) => new Client(socket));
server.on('error', (error) => serverFailed(error, flags.listen));

whenAskedToEnd(() => {
  server.close();
  endTurn();
  for (const member of members) member.part('* the room closes, goodbye');
  members.clear();
});

const { host, port } = flags.listen;
server.listen({ host, port });

// Each has a number that nobody else has had.
let lastNumber = 0;

// What is said from one write to the next: `{ bytes, except }` to all others,
// `{ bytes, only }` to one.
let turn = [];
let nBytes = 0;

// CR LF is what ends a line on every terminal.
function say(line, { except, only } = {}) {
  const bytes = Buffer.from(`${line}\r\n`);
  if (turn.length === 0) setImmediate(endTurn);
  turn.push({ bytes, except, only });
  // Their share is not what all are told.
  if (except) except.isSpecial = true;
  if (only) only.isSpecial = true;
  nBytes += bytes.length;
  if (nBytes >= FULL) endTurn();
}

// One write for each member, however much was said.
function endTurn() {
  const forAll = turn.filter(({ only }) => only === undefined);
  const shared = Buffer.concat(forAll.map(({ bytes }) => bytes));
  for (const member of members) {
    member.write(member.isSpecial ? share(member) : shared);
    member.isSpecial = false;
    member.from = 0;
  }
  turn = [];
  nBytes = 0;
}

// What one member is owed of the turn.
function share(member) {
  const isOwed = ({ except, only }) =>
    except !== member && (only ?? member) === member;
  const owed = turn.slice(member.from).filter(isOwed);
  return Buffer.concat(owed.map(({ bytes }) => bytes));
}

// The colon, and the one that a Chinese keyboard types.
const COLON = /[:：]/;

// What a line asks for. It is split at the first colon only: what follows is
// text, and may hold others.
function command(line) {
  if (['l', 'help', 'quit'].includes(line)) return { type: line };
  const [, type, rest] = /^([bcn])[:：](.*)$/su.exec(line) ?? [];
  if (type === 'n') return { type, name: rest };
  if (type === 'b' && rest) return { type, text: rest };
  const at = type === 'c' ? rest.search(COLON) : -1;
  const text = rest?.slice(at + 1);
  if (at >= 0 && text) return { type, to: rest.slice(0, at), text };
  return { type: 'unknown' };
}

// The name in this line; otherwise, what is wrong with it. What looks alike,
// such as Latin and Cyrillic letters, Node cannot tell.
function nameIn(line, owner) {
  // NFKC makes of wide letters ordinary ones.
  const name = line.trim().normalize('NFKC');
  if (!/^.{1,16}$/u.test(line.trim()) || !/^.{1,16}$/u.test(name)) {
    return { why: 'a name has 1 to 16 characters' };
  }
  if (!/^[\p{L}\p{M}\p{N}\p{P}\p{ASCII}]+$/u.test(name) || /[\s:#\p{C}]/u.test(name)) {
    const why = 'a name has letters, digits and signs, no spaces and no colons';
    return { why };
  }
  if (!/^[\p{L}\p{N}]/u.test(name)) {
    return { why: 'a name begins with a letter or a digit' };
  }
  if (RESERVED.includes(small(name))) {
    return { why: 'nobody may have that name' };
  }
  const other = named(name);
  if (other !== undefined && other !== owner) {
    return { why: 'somebody here has that name, or one that looks like it' };
  }
  return { name };
}

const small = (name) => name.normalize('NFKC').toLowerCase();

function named(name) {
  return [...members].find((member) => small(member.name) === small(name));
}

// What somebody said, without what a terminal would obey.
function clean(line) {
  return line.replaceAll('\t', ' ').replace(
    // eslint-disable-next-line no-control-regex
    /[\p{Cc}\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu,
    '\ufffd',
  );
}

// One client, from its coming to its going.
class Client {
  constructor(socket) {
    this.socket = socket;
    this.peer = showAddress(socket.remoteAddress, socket.remotePort);
    this.negotiation = new Negotiation([OPTIONS.BINARY]);
    this.decoder = new Decoder((event) => this.heard.push(event));
    // What was heard and has not had its turn.
    this.heard = [];
    this.hasEnded = false;
    this.hasLeft = false;
    // When all the lines so far would have been said, one each interval.
    this.saidUntil = performance.now();
    // How often the kernel asks, and when it gives up, Node does not let us say.
    socket.setKeepAlive(true, Math.max(flags['gone-after'] / 2, 1000));
    story(`${this.peer} connected`);
    this.name = `anonymous#${++lastNumber}`;
    const online = members.size + 1;
    story(`${this.peer} is ${this.name}, ${online} online`);
    say(`* ${this.name} joined (${online} online)`);
    // It hears what is said from now on.
    this.from = turn.length;
    members.add(this);
    const welcome = `welcome, ${online} online, you are ${this.name}`;
    say(`* ${welcome}; type help`, { only: this });

    socket.on('data', (chunk) => {
      // It has left. What it still sends is read and dropped.
      if (this.hasLeft) return;
      this.decoder.push(chunk);
      this.hear();
    });
    socket.on('end', () => {
      this.decoder.finish();
      this.hasEnded = true;
      this.hear();
    });
    let failure;
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => {
      clearTimeout(this.turn);
      clearTimeout(this.grace);
      this.leave();
      story(`${this.peer} closed${
        failure ? ` with an error: ${reason(failure)}` : ''}`);
    });
  }

  // At the limit the client is put out; `write` alone would go on to take
  // whatever it is given.
  write(bytes) {
    if (this.hasLeft || bytes.length === 0) return;
    if (this.socket.writableLength + bytes.length <= LIMIT) {
      this.socket.write(bytes);
    } else {
      // Not now: the others are being told something.
      this.part('! you read too slowly, goodbye');
      setImmediate(() => this.leave());
    }
  }

  // Gives what it said its turn, as fast as it may talk.
  hear() {
    clearTimeout(this.turn);
    while (this.heard.length > 0 && !this.hasLeft) {
      const { line } = this.heard[0];
      if (line === 'quit' || this.heard[0].command === COMMANDS.EOF) {
        this.leave();
        return;
      }
      if (line !== undefined) {
        const wait = this.timeToNext();
        if (wait > 0) {
          // As long as it is slowed, it is not read.
          this.socket.pause();
          this.turn = setTimeout(() => this.hear(), wait);
          return;
        }
      }
      this.answer(this.heard.shift());
    }
    if (this.hasEnded) this.leave();
    else this.socket.resume();
  }

  // Counts one line, unless its turn is yet to come.
  timeToNext() {
    const interval = 1000 / flags.rate;
    const now = performance.now();
    const until = Math.max(this.saidUntil, now) + interval;
    const wait = until - interval * AT_ONCE - now;
    if (wait <= 0) this.saidUntil = until;
    return wait;
  }

  answer({ line, tooLong, notUtf8, verb, option, command: order }) {
    if (line !== undefined) {
      this.obey(command(line));
    } else if (tooLong) {
      const what = `a line of more than ${MAX_LINE} bytes`;
      this.tell(`! ${what} was dropped; make it shorter`);
    } else if (notUtf8) {
      this.tell('! a line that is not UTF-8 was dropped; send it again');
    } else if (verb) {
      this.negotiate(verb, option);
    } else if (order === COMMANDS.AYT) {
      this.tell('* yes, I am here');
    }
  }

  tell(line) {
    say(line, { only: this });
  }

  obey({ type, text, to, name }) {
    switch (type) {
      case 'b':
        say(`${this.name}: ${clean(text)}`, { except: this });
        break;
      case 'c': {
        const member = named(to);
        if (member) member.tell(`(private) ${this.name}: ${clean(text)}`);
        else this.tell(`! nobody here is called ${clean(to)}`);
        break;
      }
      case 'n':
        this.rename(name);
        break;
      case 'l':
        this.list();
        break;
      case 'help':
        for (const line of HELP) this.tell(line);
        break;
      default:
        this.tell('! unknown command; help tells which there are');
    }
  }

  // The old name stays until the new one is there, and stays if it is not.
  rename(line) {
    const { name, why } = nameIn(line, this);
    if (name === undefined) {
      story(`${this.peer} is not called ${quote(line)}`);
      this.tell(`! ${why}; you are still ${this.name}`);
      return;
    }
    story(`${this.peer} is ${name} now`);
    say(`* ${this.name} is now ${name}`);
    this.name = name;
  }

  list() {
    for (const { name, peer } of [...members].slice(0, LISTED)) {
      this.tell(`- ${name} ${peer}`);
    }
    const more = members.size - LISTED;
    if (more > 0) this.tell(`- and ${more} more`);
  }

  // The name is free from here on, and the others are told. It is called for
  // each way to leave, and leaves once.
  leave() {
    if (!members.delete(this)) return;
    this.write(share(this));
    this.part('* goodbye');
    const online = members.size;
    story(`${this.peer} left, ${online} online`);
    say(`* ${this.name} left (${online} online)`);
  }

  // The last line, our FIN, and then the client's.
  part(last) {
    if (this.hasLeft) return;
    this.hasLeft = true;
    this.socket.end(`${last}\r\n`);
    this.socket.resume();
    this.grace = setTimeout(() => {
      story(`${this.peer} has not ended in time`);
      this.socket.destroy();
    }, flags.grace);
  }

  negotiate(verb, option) {
    const answer = this.negotiation.answer(verb, option);
    if (answer) this.order(answer, option);
    // Only `telnet` itself speaks of these. It takes some bytes of Chinese
    // characters for control keys, unless it sends all eight bits as data.
    if ([OPTIONS['TIMING-MARK'], OPTIONS.LINEMODE].includes(option) &&
        this.negotiation.ask(OPTIONS.BINARY)) {
      this.order('DO', OPTIONS.BINARY);
    }
  }

  order(verb, option) {
    if (this.hasLeft) return;
    this.socket.write(Buffer.from([IAC, VERBS[verb], option]));
  }
}
