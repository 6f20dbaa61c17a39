/* Every option of hermod-sink, once: parsed, shown by --help and by the README's test from here. */
#ifndef OPT_TEXT
#define OPT_TEXT(field, flag, arg, def, doc)
#endif
#ifndef OPT_LIST
#define OPT_LIST(field, flag, arg, doc)
#endif
#ifndef OPT_NUM
#define OPT_NUM(field, flag, arg, def, min, max, doc)
#endif
#ifndef OPT_BYTES
#define OPT_BYTES(field, flag, arg, def, doc)
#endif
#ifndef OPT_TIME
#define OPT_TIME(field, flag, arg, def, doc)
#endif
#ifndef OPT_BOOL
#define OPT_BOOL(field, flag, doc)
#endif
#ifndef OPT_GROUP
#define OPT_GROUP(title)
#endif

OPT_GROUP("Listening (port 0 = pick a free one; the chosen ports are printed as one JSON line)")
OPT_TEXT(listen, "listen", "ADDR:PORT", NULL, "clear HTTP/1.1 and HTTP/2 (prior knowledge) on one port")
OPT_TEXT(tls_listen, "tls-listen", "ADDR:PORT", NULL, "the same over TLS (ALPN h2, http/1.1)")
OPT_TEXT(smtp, "smtp", "ADDR:PORT", NULL, "mail: ESMTP with STARTTLS, AUTH, PIPELINING, SIZE")
OPT_TEXT(smpp, "smpp", "ADDR:PORT", NULL, "short messages: SMPP 3.4")
OPT_TEXT(control, "control", "ADDR:PORT", NULL, "control API, clear HTTP/1.1; keep it on loopback")
OPT_TEXT(ready_file, "ready-file", "FILE", NULL, "write the JSON line there too, once everything listens")
OPT_NUM(threads, "threads", "N", 1, 1, 64, "worker threads; connections are dealt out in turn")

OPT_GROUP("Certificates")
OPT_TEXT(cert_dir, "cert-dir", "DIR", NULL,
	 "keep ca.pem (give it to clients), ca.key, server.pem, server.key there; the CA is reused when "
	 "present "
	 "(default: a temporary folder, removed at exit)")
OPT_LIST(san, "san", "NAME",
	 "further DNS name or address of the made certificate (localhost, 127.0.0.1, ::1, sink.test are in "
	 "it)")
OPT_TEXT(cert, "cert", "FILE", NULL, "use this certificate chain (PEM) instead of making one")
OPT_TEXT(key, "key", "FILE", NULL, "private key (PEM) of --cert")

OPT_GROUP("Behaviour")
OPT_TEXT(scenario, "scenario", "FILE", NULL,
	 "YAML file with knobs and scripts; the control API takes the same as JSON")
OPT_NUM(seed, "seed", "N", 1, 0, UINT64_MAX,
	"seed of latencies and error mixes, so that a run can be repeated")
OPT_BOOL(no_special, "no-special", "no special tokens: every well-formed target is good")

OPT_GROUP("What the profiles check")
OPT_TEXT(apns_key, "apns-key", "FILE", NULL,
	 "P-256 key (.p8 or public PEM) that APNs tokens must be signed with; without it only their form is "
	 "checked")
OPT_LIST(apns_topic, "apns-topic", "TOPIC", "accepted apns-topic; without it any")
OPT_TEXT(fcm_key, "fcm-key", "FILE", NULL,
	 "RSA key (PEM, private, public or certificate) of the FCM service account; without it only the form "
	 "is checked")
OPT_TEXT(fcm_project, "fcm-project", "ID", NULL, "the only FCM project that exists; without it any")
OPT_LIST(wecom_corp, "wecom-corp", "ID:SECRET", "WeCom credential that gettoken accepts; without it any")
OPT_LIST(webhook_secret, "webhook-secret", "[NAME=]SECRET",
	 "whsec_... or whpk_... for /hook/NAME, or for all hooks; without one signatures are not checked")
OPT_LIST(smtp_user, "smtp-user", "USER:PASSWORD",
	 "who may send mail, after AUTH; without it everybody, with or without")
OPT_LIST(smpp_user, "smpp-user", "ID:PASSWORD", "system_id and password that may bind; without it any")
OPT_TIME(webhook_tolerance, "webhook-tolerance", "TIME", "5m", "how far webhook-timestamp may be off")

OPT_GROUP("Ledger and inspection")
OPT_TEXT(ledger_file, "ledger-file", "FILE", NULL, "write the ledger there as JSON lines at exit")
OPT_BOOL(no_ledger, "no-ledger", "count requests only, remember no ids")
OPT_BOOL(lean, "lean-ledger",
	 "keep 128-bit hashes of text ids instead of the text (UUID and ULID ids are exact either way)")
OPT_NUM(keep_requests, "keep-requests", "N", 64, 0, 1000000, "last requests kept for GET /control/requests")
OPT_TEXT(keep_path, "keep-path", "PREFIX", NULL, "keep only requests whose path begins so")
OPT_BYTES(keep_body, "keep-body", "BYTES", "64KiB", "most bytes of a body kept for it")

OPT_GROUP("Limits")
OPT_BYTES(max_body, "max-body", "BYTES", "16MiB", "largest request body (413 beyond)")
OPT_NUM(max_connections, "max-connections", "N", 10000, 1, 1000000,
	"open connections; more are closed at once")
OPT_TIME(idle_timeout, "idle-timeout", "TIME", "10m",
	 "close connections that say nothing for so long; 0 = never")
OPT_BOOL(quiet, "quiet", "no totals at exit")

#undef OPT_TEXT
#undef OPT_LIST
#undef OPT_NUM
#undef OPT_BYTES
#undef OPT_TIME
#undef OPT_BOOL
#undef OPT_GROUP
