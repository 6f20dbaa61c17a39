// An SMSC on the npm package smpp, told line by line (JSON on stdin) how to behave and asked what it has seen.
// argv: nothing, or the files of a TLS key and certificate.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const smpp = createRequire(`${process.env.PEERS}/`)("smpp");
const [key, cert] = process.argv.slice(2);

const rules = {
  system_id: "hermod", password: "secret08",
  bind_status: 0,        // what binds are answered with
  silent: false,         // leave enquire_link unanswered
  hold: false,           // keep submits without an answer
  delay_ms: 0,           // before the answer to a submit
  throttle: 0,           // so many of the next submits
  refuse: {},            // command_status by destination
  receipts: null,        // the stat of receipts, sent at once
  receipt_delay_ms: 0,
};
let seen;
const sessions = new Set(), held = [];
let next = 0;

function forget() {
  seen = { binds: [], submits: [], enquires: 0, unbinds: 0, taken: [], refused: [], most: 0, bad: [], closed: 0 };
}
forget();

function send(session, pdu) {
  try { session.send(pdu); } catch (e) { seen.bad.push(String(e)); }
}

function receipt(session, pdu, id) {
  const stat = rules.receipts, date = "2401020304";
  const d = {
    source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, source_addr_ton: 1, source_addr_npi: 1, esm_class: 4,
    short_message: { message: Buffer.from(`id:${id} sub:001 dlvrd:001 submit date:${date} done date:${date} stat:${stat} err:000 text:x`) },
  };
  session.deliver_sm(d, (resp) => (resp.command_status ? seen.refused : seen.taken).push({ id, status: resp.command_status }));
}

function answer({ session, pdu }) {
  session.open--;
  if (rules.throttle > 0) {
    rules.throttle--;
    return send(session, pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
  }
  const status = rules.refuse[pdu.destination_addr];
  if (status) return send(session, pdu.response({ command_status: status }));
  const id = "M" + String(++next).padStart(6, "0");
  send(session, pdu.response({ message_id: id }));
  const wanted = pdu.registered_delivery & 3;
  if (rules.receipts && (wanted === 1 || (wanted === 2 && rules.receipts !== "DELIVRD")))
    setTimeout(() => receipt(session, pdu, id), rules.receipt_delay_ms);
}

function on_submit(session, pdu) {
  const m = pdu.short_message, payload = pdu.message_payload;
  const text = payload ? payload.message ?? payload : m.message;
  session.open = (session.open ?? 0) + 1;
  seen.most = Math.max(seen.most, session.open);
  seen.submits.push({
    from: pdu.source_addr, from_ton: pdu.source_addr_ton, from_npi: pdu.source_addr_npi, to: pdu.destination_addr,
    to_ton: pdu.dest_addr_ton, to_npi: pdu.dest_addr_npi, coding: pdu.data_coding, esm_class: pdu.esm_class,
    registered: pdu.registered_delivery, validity: pdu.validity_period, priority: pdu.priority_flag, service: pdu.service_type,
    text: Buffer.isBuffer(text) ? text.toString("latin1") : text,
    udh: m?.udh ? Buffer.concat(m.udh.map((u) => (Buffer.isBuffer(u) ? u : Buffer.from(u)))).toString("hex") : null,
    sar: pdu.sar_total_segments ? [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum] : null,
    payload: Boolean(payload), sequence: pdu.sequence_number,
  });
  if (rules.hold) held.push({ session, pdu });
  else if (rules.delay_ms) setTimeout(() => answer({ session, pdu }), rules.delay_ms);
  else answer({ session, pdu });
}

function on_bind(session, pdu) {
  seen.binds.push({ command: pdu.command, system_id: pdu.system_id, password: pdu.password, system_type: pdu.system_type,
                    version: pdu.interface_version });
  let status = rules.bind_status;
  if (!status && (pdu.system_id !== rules.system_id || pdu.password !== rules.password)) status = smpp.ESME_RINVPASWD;
  session.bound = !status && pdu.command;
  send(session, pdu.response({ command_status: status, system_id: "SMSC" }));
}

function on_session(session) {
  sessions.add(session);
  session.on("error", (e) => { seen.bad.push(String(e)); session.destroy(); });
  session.on("close", () => { sessions.delete(session); seen.closed++; });
  for (const b of ["bind_transceiver", "bind_transmitter", "bind_receiver"]) session.on(b, (pdu) => on_bind(session, pdu));
  session.on("submit_sm", (pdu) => on_submit(session, pdu));
  session.on("enquire_link", (pdu) => { seen.enquires++; if (!rules.silent) send(session, pdu.response()); });
  session.on("unbind", (pdu) => { seen.unbinds++; send(session, pdu.response()); session.close(); });
  session.on("unknown", (pdu) => seen.bad.push(`command ${pdu.command_id}`));
}

const listening = (sessionsWanted) => [...sessions].filter((s) => s.bound && s.bound !== "bind_transmitter").slice(0, sessionsWanted);
const ops = {
  set: (q) => { Object.assign(rules, q.rules); return {}; },
  seen: () => ({ ...seen, held: held.length, sessions: [...sessions].filter((s) => s.bound).length }),
  forget: () => { forget(); return {}; },
  // Answers what is held: first come first, or the other way round.
  release: (q) => { const n = held.length; if (q.reverse) held.reverse(); held.splice(0).forEach(answer); return { n }; },
  kill: () => { sessions.forEach((s) => s.destroy()); held.length = 0; return {}; },
  unbind: () => { sessions.forEach((s) => s.unbind()); return {}; },
  enquire: () => new Promise((done) => listening(1)[0].enquire_link((r) => done({ command: r.command }))),
  deliver: (q) => new Promise((done) => {
    const pdu = { ...q.pdu };
    if (q.hex) pdu.short_message = { message: Buffer.from(q.hex, "hex") };
    listening(1)[0].deliver_sm(pdu, (r) => done({ status: r.command_status }));
  }),
  // Bytes as they are, to the first session.
  raw: (q) => { listening(1)[0].socket.write(Buffer.from(q.hex, "hex")); return {}; },
};

const server = smpp.createServer(key ? { key: readFileSync(key), cert: readFileSync(cert) } : {}, on_session);
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ ok: true, port: server.address().port })));
createInterface({ input: process.stdin }).on("line", async (line) => {
  const q = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: true, ...(await ops[q.op](q)) }));
  } catch (e) {
    console.log(JSON.stringify({ ok: false, error: String(e.stack) }));
  }
}).on("close", () => process.exit(0));
