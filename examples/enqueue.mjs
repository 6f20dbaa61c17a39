#!/usr/bin/env node
// Puts messages into Hermod's queue from Node, without any package: one message, and a chunk of three.
//
//   node examples/enqueue.mjs [--redis HOST:PORT | /path/redis.sock] [--channel NAME] [--prefix hm] [--partitions 16]
//
// In a project of your own use the npm packages redis and @msgpack/msgpack; the two helpers below are what
// they do for this.
import net from 'node:net';
import { parseArgs } from 'node:util';

const { values: opt } = parseArgs({
  options: {
    redis: { type: 'string', default: '127.0.0.1:6379' },
    channel: { type: 'string', default: 'demo' },
    prefix: { type: 'string', default: 'hm' },
    partitions: { type: 'string', default: '16' },
  },
});

// msgpack of what a job needs: maps, arrays, texts, whole numbers, true and false
function pack(v) {
  const head = (fix, max, codes, n) => {
    if (n <= max) return Buffer.from([fix | n]);
    if (codes[0] && n < 256) return Buffer.from([codes[0], n]);
    const b = Buffer.alloc(n < 65536 ? 3 : 5);
    b[0] = n < 65536 ? codes[1] : codes[2];
    n < 65536 ? b.writeUInt16BE(n, 1) : b.writeUInt32BE(n, 1);
    return b;
  };
  if (v === null) return Buffer.from([0xc0]);
  if (typeof v === 'boolean') return Buffer.from([v ? 0xc3 : 0xc2]);
  if (Number.isInteger(v) && v >= 0) {
    if (v < 128) return Buffer.from([v]);
    const b = Buffer.alloc(9);
    b[0] = 0xcf;
    b.writeBigUInt64BE(BigInt(v), 1);
    return b;
  }
  if (typeof v === 'string') {
    const text = Buffer.from(v, 'utf8');
    return Buffer.concat([head(0xa0, 31, [0xd9, 0xda, 0xdb], text.length), text]);
  }
  if (Array.isArray(v)) return Buffer.concat([head(0x90, 15, [0, 0xdc, 0xdd], v.length), ...v.map(pack)]);
  if (typeof v === 'object') {
    const entries = Object.entries(v);
    return Buffer.concat([head(0x80, 15, [0, 0xde, 0xdf], entries.length), ...entries.flat().map(pack)]);
  }
  throw new TypeError(`cannot pack ${typeof v}`);
}

// One Redis command on its own connection; resolves with the (simple or bulk) answer.
function redis(...args) {
  const [host, port] = opt.redis.split(':');
  return new Promise((resolve, reject) => {
    const s = opt.redis.startsWith('/') ? net.connect(opt.redis) : net.connect(Number(port ?? 6379), host);
    let got = '';
    s.on('error', reject);
    s.on('data', (d) => {
      got += d;
      if (!got.endsWith('\r\n') || (got[0] === '$' && got.split('\r\n').length < 3)) return;
      s.end();
      got[0] === '-' ? reject(new Error(got.slice(1).trim())) : resolve(got.split('\r\n')[got[0] === '$' ? 1 : 0]);
    });
    s.write(Buffer.concat([
      Buffer.from(`*${args.length}\r\n`),
      ...args.flatMap((a) => {
        const b = Buffer.isBuffer(a) ? a : Buffer.from(String(a));
        return [Buffer.from(`$${b.length}\r\n`), b, Buffer.from('\r\n')];
      }),
    ]));
  });
}

let next = 0;
const enqueue = (job, lane = 'normal') => // any partition will do; taking turns lets all shards work
  redis('XADD', `{${opt.prefix}:${next++ % Number(opt.partitions)}}:q:${lane}`, '*', 'j', pack(job));

console.log('one message:', await enqueue({
  to: 'example-1',
  channel: opt.channel,
  content: { title: 'Hello', body: 'From Node' },
}));
console.log('a chunk of three:', await enqueue({
  rs: [
    'example-2',
    { addr: 'example-3', data: { name: '张三' } },
    { addr: 'example-4', user: 'u4', locale: 'zh-CN' },
  ],
  channel: opt.channel,
  content: { body: 'Hello ${name}' },
  render: true,
  data: { name: 'friend' },
  campaign: 'example',
  expires: Date.now() + 3600_000,
}, 'bulk'));
