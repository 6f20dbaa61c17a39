/*
 * Every option of the configuration file, once.
 *
 * HM_SECTION(section, doc) ... HM_SECTION_END(section)
 * HM_SETTING(section, key, TYPE, default (as written in YAML), min, max, RELOAD | RESTART, choices, doc)
 *
 * TYPE      C field (config/config.h)           written as
 * DURATION  uint64_t <key>_ms                   500ms 3s 5m 2h 7d        min, max in ms
 * BYTES     uint64_t <key>                      64KiB 10MB 4096          min, max in bytes
 * INT       int64_t <key>                       12                       min, max
 * AUTO      int64_t <key>, 0 when "auto"        auto, or a number        min, max of the number
 * BOOL      bool <key>                          true false yes no
 * STR       struct hm_str <key>                 text                     min, max bytes
 * SECRET    struct hm_str <key>, never printed  text, ${env:X} ${file:X} min, max bytes
 * ENUM      struct hm_choice <key>              one of choices "a|b|c"
 * LIST      struct hm_strs <key>                [a, b] or "a, b"         min, max entries
 * SECRETS   struct hm_strs <key>, never printed  the same                  min, max entries
 *
 * The doc is what `hermod check --options` prints and must say when to change it.
 */
HM_SECTION(node, "The process itself.")
HM_SETTING(node, name, STR, "", 0, 64, RESTART, NULL,
	   "Name of this process among others on the same Redis; it is the consumer name in the streams. "
	   "Empty: host name plus a short code of data_dir. Set it when a replacement machine should take over the old one's work at once.")
HM_SETTING(node, api_url, STR, "", 0, 512, RESTART, NULL,
	   "Address under which others reach this process' API, such as https://hermod-2.internal:7700: given to who asks another process for a "
	   "message this one works on. Empty: where http.listen listens, unless that is every address.")
HM_SETTING(node, data_dir, STR, "./data", 1, 512, RESTART, NULL,
	   "Folder for the embedded Redis and the ledger. One process per folder. Put it on the fastest durable disk there is.")
HM_SETTING(node, shards, AUTO, "auto", 1, 256, RESTART, NULL,
	   "Worker threads, each with its own loop, connections and memory. auto: one per usable core. "
	   "Lower it when Redis or the provider runs on the same machine.")
HM_SETTING(node, pin_cpus, BOOL, "false", 0, 0, RESTART, NULL,
	   "Pin each shard to one core. Helps on dedicated machines, hurts on shared ones.")
HM_SETTING(node, drain_timeout, DURATION, "30s", 0, 3600000, RELOAD, NULL,
	   "After SIGTERM: how long messages in flight may still finish before the rest is handed back to the queue. "
	   "Keep it below the kill timeout of your service manager.")
HM_SECTION_END(node)

HM_SECTION(redis, "Queues, templates, caps and counters live in Redis: an own one, a given one, or a cluster.")
HM_SETTING(redis, url, STR, "embedded", 1, 2048, RESTART, NULL,
	   "embedded: start a redis-server of our own in data_dir. Otherwise redis://host:port/db, rediss://host:port (TLS), "
	   "unix:///path/to.sock, or redis+cluster:// and rediss+cluster:// with one or more host:port separated by commas. "
	   "Use a given Redis as soon as several Hermod processes share the work.")
HM_SETTING(redis, username, STR, "", 0, 256, RESTART, NULL,
	   "ACL user. Empty: the default user. It needs the commands listed in engine/redis/README.md on keys {<queue.prefix>*.")
HM_SETTING(redis, password, SECRET, "", 0, 1024, RESTART, NULL,
	   "Password of that user. Better as ${env:REDIS_PASSWORD} or ${file:/run/secrets/redis} than in clear.")
HM_SETTING(redis, ca_file, STR, "", 0, 512, RESTART, NULL,
	   "PEM file of the authorities that may sign Redis' certificate. Empty: those of the system.")
HM_SETTING(redis, cert_file, STR, "", 0, 512, RESTART, NULL,
	   "PEM client certificate, when Redis asks for one (tls-auth-clients).")
HM_SETTING(redis, key_file, STR, "", 0, 512, RESTART, NULL, "PEM key of cert_file.")
HM_SETTING(redis, tls_verify, BOOL, "true", 0, 0, RESTART, NULL,
	   "Verify Redis' certificate and host name. false only while debugging.")
HM_SETTING(redis, connect_timeout, DURATION, "5s", 10, 600000, RELOAD, NULL,
	   "Longest wait for a connection, TLS handshake and AUTH included.")
HM_SETTING(redis, command_timeout, DURATION, "10s", 100, 600000, RELOAD, NULL,
	   "A command without answer for so long means the connection is dead; it is dropped and made again.")
HM_SETTING(redis, binary, STR, "redis-server", 1, 512, RESTART, NULL,
	   "embedded only: the program to start, by name in PATH or by path.")
HM_SETTING(redis, appendfsync, ENUM, "everysec", 0, 0, RESTART, "everysec|always|no",
	   "embedded only: how often the append-only file is forced to disk. everysec survives kill -9 of anything and loses at most "
	   "a second when the machine loses power; always survives that too, at a tenth of the speed.")
HM_SETTING(redis, maxmemory, BYTES, "0", 0, 1099511627776, RESTART, NULL,
	   "embedded only: memory limit (0: none). When reached, new messages are refused with 503, never evicted.")
HM_SECTION_END(redis)

HM_SECTION(queue, "The streams that jobs wait in: {<prefix>:<partition>}:q:<lane>.")
HM_SETTING(queue, partitions, INT, "16", 1, 1024, RESTART, NULL,
	   "Partitions per lane, spread over shards and cluster nodes. At least shards x processes; must be the same everywhere, "
	   "and the queues must be empty when it is lowered.")
HM_SETTING(queue, prefix, STR, "hm", 1, 32, RESTART, NULL,
	   "First part of every key, inside the hash tag. Change it to run two installations on one Redis.")
HM_SETTING(queue, group, STR, "hermod", 1, 64, RESTART, NULL, "Consumer group name.")
HM_SETTING(queue, read_count, INT, "250", 1, 10000, RELOAD, NULL,
	   "Entries per read. More is faster for tiny jobs, less is fairer between processes.")
HM_SETTING(queue, block, DURATION, "1s", 10, 60000, RELOAD, NULL,
	   "How long an idle read waits inside Redis. New entries end the wait at once; this only sets how often an idle process asks again.")
HM_SETTING(queue, heartbeat, DURATION, "3s", 100, 60000, RELOAD, NULL,
	   "How often a process marks its entries as still being worked on.")
HM_SETTING(queue, claim_after, DURATION, "15s", 500, 3600000, RELOAD, NULL,
	   "Entries without heartbeat for so long are taken over by another process. At least three heartbeats.")
HM_SETTING(queue, dead_letter_max, INT, "100000", 0, 100000000, RELOAD, NULL,
	   "Dead letters kept per partition; the oldest go first. 0 keeps none.")
HM_SETTING(queue, dead_letter_failed, BOOL, "true", 0, 0, RELOAD, NULL,
	   "Keep failed messages as dead letters, to look at and replay (hermod dead). false: only entries that are no messages.")
HM_SETTING(queue, dead_letter_outcomes, LIST, "", 0, 16, RELOAD, NULL,
	   "Only failures whose last attempt had one of these outcomes (none: no attempt was made). Empty: all of them. "
	   "Name some when invalid recipients would push out what is worth a replay.")
HM_SETTING(queue, weight_high, INT, "8", 1, 1000, RELOAD, NULL,
	   "Share of lane high while several lanes wait. critical has no share: it never waits.")
HM_SETTING(queue, weight_normal, INT, "4", 1, 1000, RELOAD, NULL, "Share of lane normal.")
HM_SETTING(queue, weight_bulk, INT, "1", 1, 1000, RELOAD, NULL, "Share of lane bulk. Never 0: no lane starves.")
HM_SETTING(queue, max_chunk, INT, "1000", 1, 1000, RELOAD, NULL,
	   "Most recipients in one queue entry; larger chunks go to the dead-letter stream.")
HM_SETTING(queue, max_entry_bytes, BYTES, "4MiB", 1024, 67108864, RELOAD, NULL,
	   "Largest queue entry; larger ones go to the dead-letter stream unread.")
HM_SECTION_END(queue)

HM_SECTION(dispatch, "From queue entry to outcome: how much at once, and how stubbornly.")
HM_SETTING(dispatch, max_in_flight, INT, "10000", 1, 1000000, RELOAD, NULL,
	   "Messages a shard holds at the same time. It bounds memory (about 2 KiB each) and what a crash has to redo.")
HM_SETTING(dispatch, critical_reserve, INT, "10", 0, 90, RELOAD, NULL,
	   "Percent of max_in_flight that only lane critical may use, so that it never waits behind bulk.")
HM_SETTING(dispatch, read_ahead, INT, "10000", 100, 1000000, RELOAD, NULL,
	   "Messages each lane of a shard reads ahead of what it can send (and at most 32 MiB of entries). Raise it when Redis is far away.")
HM_SETTING(dispatch, max_attempts, INT, "5", 1, 100, RELOAD, NULL,
	   "Attempts per message and channel before the route moves on. A channel may set its own.")
HM_SETTING(dispatch, retry_base, DURATION, "500ms", 1, 3600000, RELOAD, NULL,
	   "First retry waits a random time up to this; each further one up to twice the last (full jitter).")
HM_SETTING(dispatch, retry_max, DURATION, "60s", 1, 86400000, RELOAD, NULL,
	   "Ceiling of that wait. A provider's Retry-After may be longer and is honoured.")
HM_SETTING(dispatch, request_timeout, DURATION, "15s", 100, 600000, RELOAD, NULL,
	   "Longest wait for one answer of a provider. Afterwards the outcome is unknown. A channel may set its own.")
HM_SETTING(dispatch, deadline, DURATION, "24h", 1000, 2592000000, RELOAD, NULL,
	   "A message that names no expiry of its own ends as expired after this.")
HM_SECTION_END(dispatch)

HM_SECTION(shape, "How fast channels may send, all processes together. Rates and quotas stand at the channels.")
HM_SETTING(shape, critical_share, INT, "10", 0, 90, RELOAD, NULL,
	   "Percent of a channel's rates, quotas and concurrency kept for lane critical, on channels that carried such messages in the last ten "
	   "minutes. Raise it when one-time passwords share a channel with campaigns that use all of it.")
HM_SETTING(shape, lease, DURATION, "100ms", 10, 1000, RELOAD, NULL,
	   "Each shard takes tokens from Redis for about so long. Longer means fewer commands and coarser sharing; raise it when Redis is far away.")
HM_SETTING(shape, spill_after, DURATION, "5m", 0, 86400000, RELOAD, NULL,
	   "A channel whose quota is used up, or that its provider told to wait, for so long or longer counts as unusable: messages with a route "
	   "go to its next channel, the others wait. 0: at any wait.")
HM_SETTING(shape, retry_budget, INT, "20", 0, 1000, RELOAD, NULL,
	   "Retries of a channel, in percent of its first attempts of the last ten seconds; what is beyond waits. It keeps a failing provider from "
	   "being stormed.")
HM_SETTING(shape, retry_floor, INT, "10", 0, 1000000, RELOAD, NULL,
	   "Retries a second that each shard may make besides, so that quiet channels retry at all.")
HM_SECTION_END(shape)

HM_SECTION(breaker, "When a channel is left alone because its provider fails. A channel may set its own, or breaker: off.")
HM_SETTING(breaker, share, INT, "50", 0, 100, RELOAD, NULL,
	   "It opens when so many percent of the answers speak against the provider (down, refused credentials, lost answers). 0: never.")
HM_SETTING(breaker, min, INT, "20", 1, 1000000, RELOAD, NULL,
	   "Answers of a shard within the window before anything is decided. Lower it on channels with little traffic.")
HM_SETTING(breaker, window, DURATION, "10s", 100, 600000, RELOAD, NULL, "The answers of so long are looked at.")
HM_SETTING(breaker, latency, DURATION, "0", 0, 600000, RELOAD, NULL,
	   "It also opens when a tenth of the answers take so long or longer. 0: slowness alone does not open it.")
HM_SETTING(breaker, open, DURATION, "5s", 10, 3600000, RELOAD, NULL,
	   "So long nothing is sent; then probes decide. Each time they fail it doubles, up to ten times this.")
HM_SETTING(breaker, probes, INT, "3", 1, 1000, RELOAD, NULL, "Requests that must all succeed before it closes.")
HM_SECTION_END(breaker)

HM_SECTION(http, "The API: submit, look up, cancel, metrics.")
HM_SETTING(http, listen, LIST, "127.0.0.1:7700", 0, 16, RESTART, NULL,
	   "Addresses to listen on, as host:port or [v6]:port; port 0 picks a free one. An empty list turns the API off. "
	   "Leave loopback only with TLS here or in front.")
HM_SETTING(http, tls_cert, STR, "", 0, 512, RELOAD, NULL,
	   "PEM certificate chain. Set with tls_key, every listener speaks TLS (1.2 and up). Read again at SIGHUP.")
HM_SETTING(http, tls_key, STR, "", 0, 512, RELOAD, NULL, "PEM key of tls_cert.")
HM_SETTING(http, auth, ENUM, "required", 0, 0, RELOAD, "required|off",
	   "required: every call but health needs an API key (hermod keys create). off only on a machine nobody else can reach.")
HM_SETTING(http, max_connections, INT, "10000", 1, 1000000, RELOAD, NULL,
	   "Open connections over all shards; further ones are closed at once.")
HM_SETTING(http, max_header, BYTES, "32KiB", 1024, 1048576, RELOAD, NULL,
	   "Largest request head; beyond it: 431.")
HM_SETTING(http, max_body, BYTES, "8MiB", 1024, 1073741824, RELOAD, NULL,
	   "Largest request body; beyond it: 413. A JSON Lines stream is measured per line, not as a whole.")
HM_SETTING(http, max_batch, INT, "10000", 1, 1000000, RELOAD, NULL, "Most messages in one batch call; beyond it: 413.")
HM_SETTING(http, header_timeout, DURATION, "10s", 100, 600000, RELOAD, NULL,
	   "A request head must be complete within this, whatever trickles in; else 408.")
HM_SETTING(http, body_timeout, DURATION, "30s", 100, 3600000, RELOAD, NULL,
	   "A body must keep arriving: longest silence inside one; else 408.")
HM_SETTING(http, idle_timeout, DURATION, "75s", 1000, 3600000, RELOAD, NULL,
	   "Keep-alive connections without a request are closed after this. Keep it above the one of a proxy in front.")
HM_SETTING(http, idempotency_ttl, DURATION, "24h", 60000, 2592000000, RELOAD, NULL,
	   "How long an Idempotency-Key is remembered. Every key costs about 150 bytes of Redis for that time.")
HM_SECTION_END(http)

HM_SECTION(wire, "Connections to providers. Channels may override where their adapter says so.")
HM_SETTING(wire, max_connections_per_origin, INT, "8", 1, 1000, RELOAD, NULL,
	   "HTTP/2 connections per shard and provider host. One carries many requests; more help against high round-trip times.")
HM_SETTING(wire, max_streams_per_connection, INT, "1000", 1, 100000, RELOAD, NULL,
	   "Requests in flight on one connection; the provider's own limit applies when it is lower.")
HM_SETTING(wire, queue_max, INT, "20000", 1, 10000000, RELOAD, NULL,
	   "Requests waiting for a stream per shard and host; beyond it the pull from the queue slows down.")
HM_SETTING(wire, connect_timeout, DURATION, "5s", 10, 600000, RELOAD, NULL,
	   "Longest wait for TCP connect and TLS handshake.")
HM_SETTING(wire, idle_ping, DURATION, "15s", 100, 3600000, RELOAD, NULL,
	   "A quiet connection is probed with PING after this; no answer in the same time closes it.")
HM_SETTING(wire, idle_close, DURATION, "10m", 1000, 86400000, RELOAD, NULL,
	   "A connection without requests is closed after this. APNs asks to keep them open; raise it there.")
HM_SETTING(wire, max_response_bytes, BYTES, "64KiB", 1024, 67108864, RELOAD, NULL,
	   "Largest answer body that is read; the rest is dropped and the answer counts as not understood.")
HM_SETTING(wire, ca_file, STR, "", 0, 512, RELOAD, NULL,
	   "PEM file of the authorities that may sign providers' certificates. Empty: those of the system.")
HM_SETTING(wire, tls_verify, BOOL, "true", 0, 0, RELOAD, NULL,
	   "Verify certificates and host names of providers. false only against a test double.")
HM_SETTING(wire, tls_min, ENUM, "1.2", 0, 0, RELOAD, "1.2|1.3", "Lowest TLS version to speak.")
HM_SECTION_END(wire)

HM_SECTION(ledger, "What became of every message and attempt, on local disk.")
HM_SETTING(ledger, dir, STR, "", 0, 512, RESTART, NULL, "Folder of the store. Empty: data_dir/ledger.")
HM_SETTING(ledger, sync, ENUM, "interval", 0, 0, RELOAD, "off|interval|always",
	   "When writes are forced to disk before queue entries are acknowledged. off and interval survive kill -9; interval forces every "
	   "group_commit and loses at most that on power loss; always forces each batch.")
HM_SETTING(ledger, group_commit, DURATION, "1s", 1, 60000, RELOAD, NULL, "Period of sync: interval.")
HM_SETTING(ledger, ttl, DURATION, "30d", 60000, 315360000000, RELOAD, NULL,
	   "How long records are kept. A million messages need roughly 150 MB.")
HM_SETTING(ledger, batch_wait, DURATION, "2ms", 0, 1000, RELOAD, NULL,
	   "How long the first record of a batch may wait for company. It adds to the time until an entry is acknowledged, not to sending.")
HM_SETTING(ledger, cache_bytes, BYTES, "32MiB", 1048576, 68719476736, RESTART, NULL, "Memory for look-ups of old records.")
HM_SETTING(ledger, queue_max, BYTES, "32MiB", 1048576, 17179869184, RELOAD, NULL,
	   "Records not yet on disk that a shard may hold. Beyond it the shard stops pulling until the disk has caught up.")
HM_SECTION_END(ledger)

HM_SECTION(templates, "Contents that jobs name.")
HM_SETTING(templates, dir, STR, "./templates", 0, 512, RELOAD, NULL,
	   "Folder of template files (*.yaml). A folder that does not exist is an empty one.")
HM_SETTING(templates, max_steps, INT, "1000000", 1000, 1000000000, RELOAD, NULL,
	   "Instructions one render may take; beyond it the message fails with that reason.")
HM_SETTING(templates, max_output, BYTES, "1MiB", 256, 67108864, RELOAD, NULL, "Bytes one render may produce.")
HM_SETTING(templates, max_depth, INT, "64", 1, 1000, RELOAD, NULL, "Nesting of macros, functions and includes.")
HM_SETTING(templates, single_brace, BOOL, "true", 0, 0, RELOAD, NULL,
	   "Also accept {name} beside ${name}. Turn it off when contents carry braces of their own, such as CSS or JSON.")
HM_SETTING(templates, default_locale, STR, "", 0, 35, RELOAD, NULL,
	   "Locale of the texts of a template that does not say its default_locale: whoever asks for it gets them, and dates and numbers are "
	   "written its way for recipients without a locale. Empty: not known.")
HM_SETTING(templates, sync_interval, DURATION, "30s", 100, 3600000, RELOAD, NULL,
	   "How often a process looks whether managed templates changed without it being told. Changes themselves are told at once; "
	   "lower it only where another program writes templates into Redis or puts back a backup.")
HM_SETTING(templates, max_templates, INT, "10000", 1, 1000000, RELOAD, NULL,
	   "Managed templates that may exist; creating one more is refused. Each process holds all versions compiled, some 20 KB each.")
HM_SECTION_END(templates)

HM_SECTION(adapters, "Descriptions of providers.")
HM_SETTING(adapters, dir, STR, "", 0, 512, RELOAD, NULL,
	   "Folder of adapter files. Empty: the one that came with the program. Point it at a copy to add your own.")
HM_SECTION_END(adapters)

HM_SECTION(log, "One event per line on standard error.")
HM_SETTING(log, level, STR, "info", 1, 256, RELOAD, NULL,
	   "error, warn, info, debug or trace; single parts after it: info,redis=debug,wire=trace.")
HM_SETTING(log, format, ENUM, "human", 0, 0, RELOAD, "human|json", "human to read, json to collect.")
HM_SETTING(log, file, STR, "", 0, 512, RELOAD, NULL,
	   "Append to this file instead of standard error. SIGHUP opens it again after rotation.")
HM_SECTION_END(log)

HM_SECTION(metrics, "Prometheus text at /metrics of the API.")
HM_SETTING(metrics, auth, ENUM, "off", 0, 0, RELOAD, "required|off",
	   "Whether /metrics needs an API key. Numbers only, no content and no addresses.")
HM_SECTION_END(metrics)

HM_SECTION(test, "For tests of the program itself. Never in production.")
HM_SETTING(test, clock, BOOL, "false", 0, 0, RESTART, NULL,
	   "Let the admin API move the clock. Every message and limit then follows whoever may call it.")
HM_SECTION_END(test)

HM_SECTION(facts, "Values fetched when a message is sent; what is a map here is a fact of that name.")
HM_SETTING(facts, cache_entries, INT, "50000", 16, 10000000, RELOAD, NULL,
	   "Values each shard remembers, of all facts together; those not used for long go first. Some 300 bytes each. "
	   "Raise it when a campaign uses more keys than that.")
HM_SETTING(facts, cache_bytes, BYTES, "32MiB", 65536, 17179869184, RELOAD, NULL,
	   "Memory these values may take per shard. Raise it with cache_entries when values are large JSON.")
HM_SETTING(facts, missing_for, DURATION, "1s", 0, 3600000, RELOAD, NULL,
	   "A key that has no value, or one of the wrong type, is not asked for again for so long (or the fact's own cache time, "
	   "when that is shorter). Raise it when many keys have none.")
HM_SETTING(facts, max_value, BYTES, "16KiB", 64, 1048576, RELOAD, NULL,
	   "Longest value of one key; a longer one counts as an error.")
HM_SETTING(facts, pause_after, INT, "5", 1, 1000, RELOAD, NULL,
	   "After so many failed requests in a row a fact is left alone for facts.pause: messages get their fallback at once instead "
	   "of waiting for the timeout each.")
HM_SETTING(facts, pause, DURATION, "5s", 100, 600000, RELOAD, NULL,
	   "How long that is; afterwards a single request tries again.")
HM_SECTION_END(facts)

HM_SECTION(gates, "What holds messages back: lists of who must not get them, and what finds such recipients.")
HM_SETTING(gates, default_tz, STR, "UTC", 1, 64, RELOAD, NULL,
	   "Time zone of recipients whose job names none or an unknown one: quiet hours and caps per day, week or month follow it. "
	   "A name such as Europe/Berlin, or +08:00.")
HM_SETTING(gates, dedupe_window, DURATION, "24h", 1000, 31622400000, RELOAD, NULL,
	   "How long a job's dedupe key is remembered for each person after a provider accepted the message. About 150 bytes of Redis for each.")
HM_SETTING(gates, add_invalid, BOOL, "true", 0, 0, RELOAD, NULL,
	   "Put addresses a provider calls invalid on the suppression list, with its answer as the proof. false when another system keeps "
	   "the list and imports it.")
HM_SETTING(gates, invalid_share, INT, "30", 1, 100, RELOAD, NULL,
	   "Percent of a channel's answers within invalid_window that may call the address invalid. Beyond it the fault is more likely a wrong "
	   "setting or the provider's: nothing is added to the list until it has come down, and an alarm is logged. "
	   "Raise it for a while when sending to a list known to be old; 100 means never.")
HM_SETTING(gates, invalid_window, DURATION, "1m", 1000, 86400000, RELOAD, NULL,
	   "Time these answers are counted over, and that the share must be low for before addresses are added again.")
HM_SETTING(gates, invalid_min, INT, "50", 1, 1000000, RELOAD, NULL,
	   "Fewer answers than this in the window say nothing about the channel. It is also about what a sudden fault may put on the list "
	   "per shard before it is noticed.")
HM_SECTION_END(gates)

HM_SECTION(callbacks, "What providers report: receipts, bounces, replies.")
HM_SETTING(callbacks, public_url, STR, "", 0, 512, RELOAD, NULL,
	   "How providers reach this API, such as https://hermod.example.com: scheme, host, perhaps a path. Signatures over the URL are checked "
	   "with it, and channels whose provider is told where to report use it. Empty: providers are not told, such signatures do not fit.")
HM_SETTING(callbacks, stop_words, LIST, "STOP, STOPALL, UNSUBSCRIBE, CANCEL, END, QUIT, TD, T, 退订, 退", 0, 200, RELOAD, NULL,
	   "An answer that is nothing but one of these unsubscribes its sender from the medium; case and signs around it do not matter.")
HM_SETTING(callbacks, start_words, LIST, "START, UNSTOP, 恢复", 0, 200, RELOAD, NULL,
	   "An answer that is nothing but one of these takes that back.")
HM_SETTING(callbacks, replies_max, INT, "100000", 100, 10000000, RELOAD, NULL,
	   "Answers of people kept for GET /v1/replies; the oldest go first.")
HM_SETTING(callbacks, rate, INT, "2000", 1, 1000000, RELOAD, NULL,
	   "Calls per second taken for one channel by this process; further ones get 429. They need no API key, so that this protects the rest.")
HM_SETTING(callbacks, max_body, BYTES, "1MiB", 1024, 67108864, RELOAD, NULL,
	   "Largest body of a callback; http.max_body holds too.")
HM_SECTION_END(callbacks)

HM_SECTION(inbox, "The in-app inbox: channels on adapter inbox/hermod, and /v1/inbox for the users' pages and apps.")
HM_SETTING(inbox, token_keys, SECRETS, "", 0, 16, RELOAD, NULL,
	   "Keys of the backends that sign users' tokens (JWT), each \"<kid> <alg> <key>\": alg HS256 with a secret of 32 bytes or more, RS256 or "
	   "ES256 with a public key (PEM). Name the old and the new one while keys change. Empty: no user is let in, backends with an API key are.")
HM_SETTING(inbox, audience, STR, "hermod-inbox", 0, 256, RELOAD, NULL,
	   "What a token's aud must name, so that tokens the same key signs for others are of no use here. Empty: aud is not looked at.")
HM_SETTING(inbox, max_token, DURATION, "1h", 1000, 604800000, RELOAD, NULL,
	   "Longest time a token may still live: one that leaks is soon worthless. Raise it when your app cannot fetch a new one each hour.")
HM_SETTING(inbox, leeway, DURATION, "30s", 0, 600000, RELOAD, NULL,
	   "How far the clocks of the backends and of this machine may be apart.")
HM_SETTING(inbox, origins, LIST, "", 0, 64, RELOAD, NULL,
	   "Origins of web pages whose scripts may ask, such as https://app.example.com; \"*\": of all pages. Native apps need none.")
HM_SETTING(inbox, rate, INT, "50", 1, 100000, RELOAD, NULL,
	   "Requests per second taken from one user by this process; further ones get 429.")
HM_SETTING(inbox, max_items, INT, "200", 1, 5000, RELOAD, NULL,
	   "Items kept for a user. For a further one the oldest archived goes, else the oldest read, else the oldest.")
HM_SETTING(inbox, max_item, BYTES, "32KiB", 256, 1048576, RELOAD, NULL,
	   "Largest item, as JSON; a larger message fails. It bounds what a user's page takes: 100 items.")
HM_SETTING(inbox, keep, DURATION, "90d", 60000, 31622400000, RELOAD, NULL,
	   "Longest life of an item whose message does not end it sooner.")
HM_SETTING(inbox, max_streams, INT, "10000", 0, 1000000, RELOAD, NULL,
	   "Open streams (GET /v1/inbox/stream) in this process; further ones get 503. Each is a connection: http.max_connections holds too.")
HM_SETTING(inbox, streams_per_user, INT, "5", 1, 1000, RELOAD, NULL,
	   "Open streams of one user, in all processes together; further ones get 429. One per tab of a browser.")
HM_SECTION_END(inbox)
