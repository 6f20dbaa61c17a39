// judge.js - asked in lines of JSON, answers in lines of JSON: {"ok": true, ...} or {"ok": false, "error": "..."}
//
// Every question names a `kind`; the rest is what a peer of that kind sees on the wire. Packages lie in build/peers, hence the folder
// in PEERS. What is bytes is base64.
import {createECDH, createPublicKey, verify} from "node:crypto";
import {createRequire} from "node:module";
import {createInterface} from "node:readline";
import {pathToFileURL} from "node:url";

const require = createRequire(process.env.PEERS + "/package.json");
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const bytes = (s) => Buffer.from(s, "base64");

const kinds = {
	// {secret, headers, body}: throws unless one of the signatures is genuine and fresh
	async webhook({secret, headers, body}) {
		const {Webhook} = await load("standardwebhooks");
		return {payload: new Webhook(secret).verify(bytes(body).toString(), headers)};
	},

	// {public, headers, body}: v1a of Standard Webhooks, which that library does not know; public is whpk_ and base64
	async webhook_ed25519({public: key, headers, body}) {
		const spki = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), bytes(key.replace(/^whpk_/, ""))]);
		const k = createPublicKey({key: spki, format: "der", type: "spki"});
		const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${bytes(body)}`);
		const given = headers["webhook-signature"].split(" ").filter((s) => s.startsWith("v1a,"));
		if (!given.some((s) => verify(null, signed, k, bytes(s.slice(4))))) throw new Error(`no v1a signature of ${given.length} is genuine`);
		return {};
	},

	// {token, key, alg, audience?, issuer?}: key is a public key or certificate in PEM, or a JWK
	async jwt({token, key, alg, audience, issuer}) {
		const jose = await load("jose");
		const k = typeof key === "object" ? await jose.importJWK(key, alg) : await jose.importSPKI(key, alg);
		const r = await jose.jwtVerify(token, k, {algorithms: [alg], audience, issuer});
		return {header: r.protectedHeader, claims: r.payload};
	},

	// {method, host, path, headers, body, id, secret, session?}: signed once more by both, with the headers and the time that were signed
	async sigv4({method, host, path, headers, body, id, secret, session}) {
		const given = headers.authorization;
		const m = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(given);
		if (!m) throw new Error(`not an authorization of AWS: ${given}`);
		const [, key, day, region, service, names, signature] = m;
		if (key !== id) throw new Error(`signed as ${key}`);
		const signed = Object.fromEntries(names.split(";").map((n) => [n, n === "host" ? host : headers[n]]));
		if (!headers["x-amz-date"].startsWith(day)) throw new Error("the day is not that of x-amz-date");
		for (const needed of ["host", "x-amz-date"]) if (!(needed in signed)) throw new Error(`${needed} is not signed`);

		const aws4 = (await load("aws4")).default;
		const first = new aws4.RequestSigner({method, host, path, service, region, body: bytes(body), headers: {...signed}, doNotModifyHeaders: true},
			{accessKeyId: id, secretAccessKey: secret, sessionToken: session});
		first.datetime = headers["x-amz-date"];
		const mine = first.sign().headers.Authorization;
		if (!mine.endsWith(signature)) throw new Error(`aws4 signs ${mine}`);

		const {SignatureV4} = await load("@smithy/signature-v4");
		const {Sha256} = await load("@aws-crypto/sha256-js");
		const url = new URL(`https://${host}${path}`);
		const {authorization, ...rest} = signed;
		const d = headers["x-amz-date"];
		const at = new Date(`${d.slice(0, 4)}-${d.slice(4, 6)}-${d.slice(6, 8)}T${d.slice(9, 11)}:${d.slice(11, 13)}:${d.slice(13, 15)}Z`);
		const second = await new SignatureV4({credentials: {accessKeyId: id, secretAccessKey: secret, sessionToken: session}, region, service,
			sha256: Sha256, applyChecksum: "x-amz-content-sha256" in signed})
			.sign({method, protocol: "https:", hostname: url.hostname, path: url.pathname, query: Object.fromEntries(url.searchParams),
				headers: rest, body: bytes(body)}, {signingDate: at, signableHeaders: new Set(names.split(";"))});
		const theirs = second.headers.authorization ?? second.headers.Authorization;
		if (!theirs.endsWith(signature)) throw new Error(`@smithy/signature-v4 signs ${theirs}`);
		return {region, service};
	},

	// {body, private, public, auth}: aes128gcm of Web Push, opened as a browser does; keys are raw P-256, base64
	async webpush({body, private: d, public: p, auth}) {
		const ece = (await load("http_ece")).default;
		const key = createECDH("prime256v1");
		key.setPrivateKey(bytes(d));
		if (!key.getPublicKey().equals(bytes(p))) throw new Error("the keys are not a pair");
		return {payload: ece.decrypt(bytes(body), {version: "aes128gcm", privateKey: key, authSecret: bytes(auth).toString("base64url")}).toString()};
	},

	// {key, signature, timestamp, body}: does Discord's helper take it?
	async discord({key, signature, timestamp, body}) {
		const {verifyKey} = await load("discord-interactions");
		if (!(await verifyKey(bytes(body), signature, timestamp, key))) throw new Error("Discord's helper refuses it");
		return {};
	},

	// a Telegram Bot API; {port} -> then `telegram_messages` tells what bots have sent
	async telegram({port}) {
		const Server = require("telegram-test-api"); // CommonJS
		telegram = new Server({port, host: "127.0.0.1"});
		await telegram.start();
		return {url: telegram.config.apiURL};
	},
	async telegram_messages() {
		return {messages: telegram.storage.botMessages.map(({botToken, messageId, message}) => ({botToken, messageId, message}))};
	},
	async telegram_stop() {
		await telegram.stop();
		return {};
	},
};
let telegram;

for await (const line of createInterface({input: process.stdin})) {
	let answer;
	try {
		const q = JSON.parse(line);
		answer = {ok: true, ...(await kinds[q.kind](q))};
	} catch (e) {
		answer = {ok: false, error: String(e?.message ?? e)};
	}
	process.stdout.write(JSON.stringify(answer) + "\n");
}
