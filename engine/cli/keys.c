/*
 * keys.c - API keys from the command line
 *
 * A key is printed once, alone on stdout, so that KEY=$(hermod keys create ...) works;
 * everything said about it goes to stderr.
 */
#include "cli/keys.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "cli/queue_link.h"
#include "ingest/api_key.h"
#include "ingest/cancel_mark.h"

static const char usage[] =
	"usage: hermod keys create --scope send[,read][,templates][,suppressions][,admin] [--name NAME]\n"
	"                          [--rate N] [--json]\n"
	"       hermod keys list [--json]\n"
	"       hermod keys revoke ID\n\n"
	"API keys for the HTTP API. A key is shown once, when it is made; only its hash is kept.\n\n"
	"  --scope LIST        what the key may do: send (submit, cancel), read (look up), templates "
	"(change templates),\n                      suppressions (change suppression lists and consents), "
	"admin "
	"(everything)\n"
	"  --name NAME         who it is for, shown in the list\n"
	"  --rate N            requests per second, per process (default: no limit)\n"
	"  --json              print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

struct args {
	struct hm_conf_args conf;
	const char *redis, *scope, *name, *rate, *id;
	bool json;
};

static int parse(struct args *a, int argc, char **argv)
{
	bool bad = false;

	memset(a, 0, sizeof(*a));
	hm_conf_args_init(&a->conf);
	for (int i = 2; i < argc && !bad; i++) {
		if (hm_conf_args_take(&a->conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &a->redis, argc, argv, &i, &bad) ||
		    hm_option_take("--scope", &a->scope, argc, argv, &i, &bad) ||
		    hm_option_take("--name", &a->name, argc, argv, &i, &bad) ||
		    hm_option_take("--rate", &a->rate, argc, argv, &i, &bad))
			continue;
		if (strcmp(argv[i], "--json") == 0) {
			a->json = true;
		} else if (argv[i][0] != '-' && !a->id) {
			a->id = argv[i];
		} else {
			fprintf(stderr,
				"hermod: keys does not know \"%s\"; hermod keys --help shows its use\n",
				argv[i]);
			bad = true;
		}
	}
	return bad ? 2 : 0;
}

struct keys {
	struct hm_queue_link q;
	struct hm_arena arena;
	struct hm_buf buf;
	char key[HM_CTL_KEY_MAX];
	struct hm_str hash; /* Redis key of the hash of all keys */
};

static int keys_open(struct keys *k, const struct args *a)
{
	if (hm_queue_open(&k->q, &a->conf, a->redis))
		return 1;
	hm_arena_init(&k->arena, NULL, 0);
	hm_buf_init(&k->buf, 1u << 20);
	k->hash = hm_str_n(k->key,
			   hm_ctl_key(k->q.cfg->settings.queue.prefix, "keys", k->key, sizeof(k->key)));
	return 0;
}

static void keys_close(struct keys *k)
{
	hm_buf_fini(&k->buf);
	hm_arena_fini(&k->arena);
	hm_queue_close(&k->q);
}

static int failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

struct told {
	bool done;
	struct hm_err err;
};

static void on_told(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct told *t = arg;

	t->done = true;
	if (err)
		t->err = *err;
}

/* Stores the record and tells all processes that a key has changed. */
static int store(struct keys *k, const struct hm_api_key *key, struct hm_err *e)
{
	struct hm_ctl_event ev = {.type = HM_CTL_KEYS, .by = hm_str_c(key->id), .at_ms = hm_clock_wall_ms()};
	struct hm_str argv[4];
	struct hm_reply reply;
	struct told t = {0};
	int rc;

	hm_buf_reset(&k->buf);
	hm_api_key_put_record(&k->buf, key);
	if (k->buf.err)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	argv[0] = HM_STR("HSET");
	argv[1] = k->hash;
	argv[2] = hm_str_c(key->id);
	argv[3] = hm_buf_str(&k->buf);
	rc = hm_queue_call(&k->q, k->hash, argv, 4, &k->arena, &reply, e);
	if (rc)
		return rc;
	hm_ctl_send(k->q.redis, k->q.cfg->settings.queue.prefix, &ev, on_told, &t);
	while (!t.done)
		hm_queue_turn(&k->q);
	if (t.err.code)
		*e = t.err;
	return t.err.code;
}

static int create(const struct args *a)
{
	char text[HM_API_KEY_TEXT + 1];
	struct hm_api_key key;
	struct keys k;
	struct hm_err e;
	uint64_t rate = 0;
	int rc;

	memset(&key, 0, sizeof(key));
	hm_err_clear(&e);
	if (!a->scope) {
		fprintf(stderr, "hermod: keys create needs --scope, for example --scope send,read\n");
		return 2;
	}
	if (hm_api_key_scopes_parse(hm_str_c(a->scope), &key.scopes, &e)) {
		fprintf(stderr, "hermod: %s\n", e.text);
		return 2;
	}
	if (a->rate && (!hm_str_u64(hm_str_c(a->rate), &rate) || rate > HM_API_KEY_RATE_MAX)) {
		fprintf(stderr, "hermod: --rate must be a number of requests per second, at most %d\n",
			HM_API_KEY_RATE_MAX);
		return 2;
	}
	if (a->name && (strlen(a->name) > HM_API_KEY_NAME || !hm_utf8_valid(hm_str_c(a->name)))) {
		fprintf(stderr, "hermod: --name may have %d bytes of UTF-8\n", HM_API_KEY_NAME);
		return 2;
	}
	if (a->id) {
		fprintf(stderr, "hermod: keys create takes no \"%s\"\n", a->id);
		return 2;
	}
	key.rate = (uint32_t)rate;
	if (a->name)
		(void)snprintf(key.name, sizeof(key.name), "%s", a->name);
	if (keys_open(&k, a))
		return 1;
	key.created_ms = hm_clock_wall_ms();
	rc = hm_api_key_make(&key, text, &e);
	if (rc == 0)
		rc = store(&k, &key, &e);
	if (rc) {
		rc = failed(&e);
	} else if (a->json) {
		hm_buf_reset(&k.buf);
		hm_api_key_scopes_put(&k.buf, key.scopes, "\",\"");
		printf("{\"key\":\"%s\",\"id\":\"%s\",\"scopes\":[\"%s\"]}\n", text, key.id,
		       hm_buf_cstr(&k.buf));
	} else {
		printf("%s\n", text);
		(void)fflush(stdout);
		fprintf(stderr,
			"This is key %s. It is shown only now: keep it. Use: curl -H 'Authorization: Bearer "
			"%s' ...\n",
			key.id, "hk_...");
	}
	OPENSSL_cleanse(text, sizeof(text));
	keys_close(&k);
	return rc;
}

static void print_key(struct keys *k, const struct hm_api_key *key, bool json, bool first)
{
	char created[25], revoked[25] = "";

	hm_clock_rfc3339(key->created_ms, created);
	if (key->revoked_ms)
		hm_clock_rfc3339(key->revoked_ms, revoked);
	hm_buf_reset(&k->buf);
	if (json) {
		hm_buf_printf(&k->buf, "%s{\"id\":\"%s\",\"name\":\"", first ? "" : ",\n ", key->id);
		hm_buf_json(&k->buf, hm_str_c(key->name));
		hm_buf_lit(&k->buf, "\",\"scopes\":[\"");
		hm_api_key_scopes_put(&k->buf, key->scopes, "\",\"");
		hm_buf_printf(&k->buf, "\"],\"rate\":%u,\"created\":\"%s\"", key->rate, created);
		if (revoked[0])
			hm_buf_printf(&k->buf, ",\"revoked\":\"%s\"", revoked);
		hm_buf_putc(&k->buf, '}');
		printf("%s", hm_buf_cstr(&k->buf));
		return;
	}
	hm_api_key_scopes_put(&k->buf, key->scopes, ",");
	printf("%s  %-16s  %8u  %.19s  %-19.19s  %s\n", key->id, hm_buf_cstr(&k->buf), key->rate, created,
	       revoked[0] ? revoked : "-", key->name);
}

static int by_created(const void *a, const void *b)
{
	const struct hm_api_key *x = a, *y = b;

	return x->created_ms < y->created_ms ? -1 : x->created_ms > y->created_ms;
}

static int list(const struct args *a)
{
	struct hm_str argv[2];
	struct hm_api_key *v = NULL;
	struct hm_reply reply;
	struct keys k;
	struct hm_err e;
	size_t n = 0;
	int rc = 0;

	if (keys_open(&k, a))
		return 1;
	argv[0] = HM_STR("HGETALL");
	argv[1] = k.hash;
	if (hm_queue_call(&k.q, k.hash, argv, 2, &k.arena, &reply, &e)) {
		rc = failed(&e);
		goto out;
	}
	v = calloc(reply.n / 2 + 1, sizeof(*v));
	if (!v) {
		fprintf(stderr, "hermod: out of memory\n");
		rc = 1;
		goto out;
	}
	for (size_t i = 0; i + 1 < reply.n; i += 2) {
		if (hm_api_key_read_record(reply.v[i].s, reply.v[i + 1].s, &v[n], &e) == 0)
			n++;
		else
			rc = failed(&e);
	}
	qsort(v, n, sizeof(*v), by_created);
	if (a->json)
		printf("[");
	else
		printf("%-10s  %-16s  %8s  %-19s  %-19s  %s\n", "ID", "SCOPES", "RATE/S", "CREATED",
		       "REVOKED", "NAME");
	for (size_t i = 0; i < n; i++)
		print_key(&k, &v[i], a->json, i == 0);
	if (a->json)
		printf("]\n");
out:
	free(v);
	keys_close(&k);
	return rc;
}

static int revoke_key(const struct args *a)
{
	struct hm_api_key key;
	struct hm_str argv[3];
	struct hm_reply reply;
	struct keys k;
	struct hm_err e;
	struct hm_str id;
	int rc;

	if (!a->id) {
		fprintf(stderr, "hermod: keys revoke needs the id of a key; hermod keys list shows them\n");
		return 2;
	}
	id = hm_str_c(a->id);
	if (hm_str_starts(id, HM_STR("hk_")) && id.len >= 3 + HM_API_KEY_ID) /* the whole key will do, too */
		id = hm_str_n(id.p + 3, HM_API_KEY_ID);
	if (!hm_api_key_id_valid(id)) {
		fprintf(stderr, "hermod: \"%.40s\" is not the id of a key; hermod keys list shows them\n",
			a->id);
		return 2;
	}
	if (keys_open(&k, a))
		return 1;
	argv[0] = HM_STR("HGET");
	argv[1] = k.hash;
	argv[2] = id;
	rc = hm_queue_call(&k.q, k.hash, argv, 3, &k.arena, &reply, &e);
	if (rc == 0 && reply.type == HM_REPLY_NIL) {
		rc = hm_err_set(&e, HM_ENOENT, "there is no key %.*s", HM_STRF(id));
	} else if (rc == 0) {
		rc = hm_api_key_read_record(id, reply.s, &key, &e);
		if (rc == 0 && key.revoked_ms == 0) {
			key.revoked_ms = hm_clock_wall_ms();
			rc = store(&k, &key, &e);
		}
	}
	if (rc)
		rc = failed(&e);
	else
		fprintf(stderr, "Key %.*s is revoked.\n", HM_STRF(id));
	keys_close(&k);
	return rc;
}

int hm_cli_keys(int argc, char **argv)
{
	struct args a;

	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	for (int i = 2; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0) {
			fputs(usage, stdout);
			return 0;
		}
	if (parse(&a, argc, argv))
		return 2;
	if (strcmp(argv[1], "create") == 0)
		return create(&a);
	if (strcmp(argv[1], "list") == 0)
		return list(&a);
	if (strcmp(argv[1], "revoke") == 0)
		return revoke_key(&a);
	fprintf(stderr, "hermod: keys knows create, list and revoke, not \"%.40s\"\n", argv[1]);
	return 2;
}
