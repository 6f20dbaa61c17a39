/*
 * report_all.c - the balance over several nodes
 */
#include "cli/report_all.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/ledger_args.h"
#include "cli/queue_link.h"
#include "ingest/cancel_mark.h"

#define ANSWER_MAX (64u << 20)
#define TIMEOUT_S  20L

struct row {
	struct hm_str name;
	struct hm_ledger_balance b;
	struct hm_str why; /* it could not be asked */
};

struct report {
	const struct hm_report_all *o;
	struct hm_arena arena;
	struct row *rows;
	size_t n;
	struct hm_ledger_balance total;
	bool failed;
};

static void add(struct hm_ledger_balance *to, const struct hm_ledger_balance *b)
{
	to->accepted += b->accepted;
	for (size_t s = 0; s < HM_ST_COUNT; s++)
		to->by_state[s] += b->by_state[s];
	to->pending += b->pending;
	to->unknown_attempts += b->unknown_attempts;
	to->repeats += b->repeats;
	to->replays += b->replays;
	to->moved += b->moved;
}

/* -- ledgers of this machine -------------------------------------------------------------------------- */

struct wanted {
	const char *campaign;
	struct hm_ledger_balance b;
};

static bool look(void *arg, const struct hm_ledger_balance *b)
{
	struct wanted *w = arg;

	if (!hm_str_is(b->campaign, w->campaign))
		return true;
	w->b = *b;
	w->b.campaign = HM_STR_NULL;
	return false;
}

static void read_ledger(struct report *r, const char *dir)
{
	struct row *row = &r->rows[r->n++];
	struct wanted w = {.campaign = r->o->campaign};
	struct hm_err e = {0};
	struct hm_ledger *l;
	int rc;

	*row = (struct row){.name = hm_str_c(dir)};
	rc = hm_ledger_open_readonly(hm_str_c(dir), &l, &e);
	if (rc == 0) {
		rc = r->o->campaign ? hm_ledger_each_campaign(l, look, &w, &e) : hm_ledger_total(l, &w.b, &e);
		if (rc == 0 && r->o->verify)
			rc = hm_ledger_verify(l, &e);
		hm_ledger_close(l);
	}
	row->b = w.b;
	if (rc != 0)
		row->why = hm_arena_printf(&r->arena, "%s", e.text);
}

/* -- nodes ----------------------------------------------------------------------------------------------- */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct hm_buf *b = arg;

	hm_buf_put(b, p, size * n);
	return b->err ? 0 : size * n;
}

static uint64_t number(const msgpack_object *o, const char *key)
{
	uint64_t v = 0;

	return hm_mp_u64(hm_mp_get(o, hm_str_c(key)), &v) ? v : 0;
}

static void take_balance(struct hm_ledger_balance *b, const msgpack_object *o)
{
	b->accepted = number(o, "accepted");
	for (int s = 0; s < HM_ST_COUNT; s++)
		if (hm_state_final((enum hm_state)s))
			b->by_state[s] = number(o, hm_state_name((enum hm_state)s));
	b->by_state[HM_ST_SENT] -= b->by_state[HM_ST_DELIVERED]; /* an answer counts them in sent */
	b->pending = number(o, "pending");
	b->unknown_attempts = number(o, "unknown_attempts");
	b->repeats = number(o, "repeats");
	b->replays = number(o, "replays");
	b->moved = number(o, "moved");
}

static void ask_node(struct report *r, struct row *row, struct hm_str api, const char *key)
{
	struct curl_slist *headers = NULL;
	CURL *c = curl_easy_init();
	struct hm_buf url, body, mp;
	msgpack_object o;
	msgpack_zone zone;
	struct hm_err e = {0};
	long status = 0;
	CURLcode rc;

	hm_buf_init(&url, 8192);
	hm_buf_init(&body, ANSWER_MAX);
	hm_buf_init(&mp, ANSWER_MAX);
	hm_buf_puts(&url, api);
	hm_buf_lit(&url, "/v1/report");
	if (r->o->campaign) {
		hm_buf_lit(&url, "?campaign=");
		hm_buf_percent(&url, hm_str_c(r->o->campaign));
	}
	if (key) {
		struct hm_str h = hm_arena_printf(&r->arena, "Authorization: Bearer %s", key);

		headers = curl_slist_append(NULL, h.p ? h.p : "");
	}
	if (c == NULL || !msgpack_zone_init(&zone, 8192)) {
		row->why = HM_STR("out of memory");
		goto out;
	}
	curl_easy_setopt(c, CURLOPT_URL, hm_buf_cstr(&url));
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
	curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (rc != CURLE_OK)
		row->why = hm_arena_printf(&r->arena, "%.*s does not answer: %s", HM_STRF(api),
					   curl_easy_strerror(rc));
	else if (status == 401 || status == 403)
		row->why = hm_arena_printf(
			&r->arena, "%.*s wants an API key with scope read (--key, or $HERMOD_API_KEY)",
			HM_STRF(api));
	else if (status == 404 && r->o->campaign)
		; /* nothing of the campaign there */
	else if (status != 200)
		row->why = hm_arena_printf(&r->arena, "%.*s answers %ld", HM_STRF(api), status);
	else if (hm_json_to_msgpack(hm_buf_str(&body), &mp, &e) != 0 ||
		 hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e) != 0)
		row->why = hm_arena_printf(&r->arena, "%.*s: the answer is not understood: %s", HM_STRF(api),
					   e.text);
	else
		take_balance(&row->b, &o);
	msgpack_zone_destroy(&zone);
out:
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	hm_buf_fini(&url);
	hm_buf_fini(&body);
	hm_buf_fini(&mp);
}

static int read_nodes(struct report *r)
{
	const char *key = r->o->key ? r->o->key : getenv("HERMOD_API_KEY");
	char name[HM_CTL_KEY_MAX];
	struct hm_queue_link q;
	struct hm_str argv[2] = {HM_STR("HGETALL")};
	struct hm_reply reply;
	struct hm_err e;
	int rc;

	if (hm_queue_open(&q, r->o->conf, r->o->redis))
		return 1;
	argv[1] = hm_str_n(name, hm_ctl_key(q.cfg->settings.queue.prefix, "nodes", name, sizeof(name)));
	rc = hm_queue_call(&q, argv[1], argv, 2, &r->arena, &reply, &e);
	hm_queue_close(&q);
	if (rc != 0) {
		fprintf(stderr, "hermod: %s\n", e.text);
		return 1;
	}
	r->rows = calloc(reply.n / 2 + 1, sizeof(*r->rows));
	if (r->rows == NULL)
		return 1;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	for (size_t i = 0; i + 1 < reply.n; i += 2) {
		struct row *row = &r->rows[r->n++];
		struct hm_str api = HM_STR_NULL;
		msgpack_object o;
		msgpack_zone zone;
		struct hm_buf mp;

		row->name = reply.v[i].s;
		hm_buf_init_arena(&mp, &r->arena, 65536);
		if (!msgpack_zone_init(&zone, 1024)) {
			row->why = HM_STR("out of memory");
			continue;
		}
		if (hm_json_to_msgpack(reply.v[i + 1].s, &mp, &e) == 0 &&
		    hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e) == 0)
			(void)hm_mp_str(hm_mp_get(&o, HM_STR("api")), &api);
		if (api.len)
			ask_node(r, row, api, key);
		else
			row->why = HM_STR("its API has no known address (node.api_url)");
		msgpack_zone_destroy(&zone);
	}
	curl_global_cleanup();
	if (r->n == 0) {
		fprintf(stderr, "hermod: no node is listed on this Redis\n");
		return 1;
	}
	return 0;
}

/* -- printing --------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return hm_str_cmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static void put_row(struct hm_buf *b, const struct row *row)
{
	size_t at;

	hm_buf_lit(b, "{\"node\":\"");
	hm_buf_json(b, row->name);
	if (row->why.len) {
		hm_buf_lit(b, "\",\"error\":\"");
		hm_buf_json(b, row->why);
		hm_buf_lit(b, "\"}");
		return;
	}
	hm_buf_lit(b, "\",");
	at = b->len;
	hm_ledger_balance_json(&row->b, true, b);
	if (b->err == 0) { /* its members go on with ours */
		memmove(b->p + at, b->p + at + 1, b->len - at - 1);
		b->len--;
	}
}

static int print_json(const struct report *r)
{
	struct hm_buf b;
	int rc;

	hm_buf_init(&b, SIZE_MAX / 2);
	hm_buf_lit(&b, "{\"total\":");
	hm_ledger_balance_json(&r->total, true, &b);
	hm_buf_lit(&b, ",\"nodes\":[");
	for (size_t i = 0; i < r->n; i++) {
		if (i)
			hm_buf_putc(&b, ',');
		put_row(&b, &r->rows[i]);
	}
	hm_buf_lit(&b, "]}\n");
	rc = b.err ? 1 : 0;
	if (rc == 0)
		fwrite(b.p, 1, b.len, stdout);
	hm_buf_fini(&b);
	return rc;
}

static void print_line(struct hm_str name, size_t width, const struct hm_ledger_balance *b)
{
	static const enum hm_state states[] = {HM_ST_SENT,   HM_ST_FAILED,  HM_ST_SUPPRESSED,
					       HM_ST_CAPPED, HM_ST_EXPIRED, HM_ST_CANCELLED};

	hm_print_padded(name, width);
	fputs("  ", stdout);
	hm_print_number(b->accepted, 13);
	for (size_t s = 0; s < hm_countof(states); s++) {
		fputs("  ", stdout);
		hm_print_number(hm_ledger_balance_of(b, states[s]), 13);
	}
	fputs("  ", stdout);
	hm_print_number(b->pending, 13);
	puts(hm_ledger_balanced(b) ? "" : "  NOT BALANCED");
}

static void print_table(const struct report *r)
{
	static const char *const titles[] = {"accepted", "sent",    "failed",	 "suppressed",
					     "capped",	 "expired", "cancelled", "pending"};
	size_t width = 5;

	for (size_t i = 0; i < r->n; i++)
		width = hm_max(width, hm_min(hm_text_width(r->rows[i].name), (size_t)48));
	hm_print_padded(HM_STR("node"), width);
	for (size_t i = 0; i < hm_countof(titles); i++)
		printf("  %13s", titles[i]);
	putchar('\n');
	for (size_t i = 0; i < r->n; i++)
		if (r->rows[i].why.len == 0)
			print_line(r->rows[i].name, width, &r->rows[i].b);
	print_line(HM_STR("total"), width, &r->total);
}

int hm_report_all(const struct hm_report_all *o)
{
	struct report r = {.o = o};
	bool balanced = true;
	int rc = 0;

	hm_arena_init(&r.arena, NULL, 0);
	if (o->n_dirs) {
		r.rows = calloc(o->n_dirs, sizeof(*r.rows));
		for (size_t i = 0; r.rows != NULL && i < o->n_dirs; i++)
			read_ledger(&r, o->dirs[i]);
		rc = r.rows == NULL;
	} else {
		rc = read_nodes(&r);
	}
	if (rc == 0) {
		qsort(r.rows, r.n, sizeof(*r.rows), by_name);
		for (size_t i = 0; i < r.n; i++) {
			if (r.rows[i].why.len) {
				fprintf(stderr, "hermod: %.*s: %.*s; the sum is not whole\n",
					HM_STRF(r.rows[i].name), HM_STRF(r.rows[i].why));
				r.failed = true;
				continue;
			}
			balanced &= hm_ledger_balanced(&r.rows[i].b);
			add(&r.total, &r.rows[i].b);
		}
		if (o->json)
			rc = print_json(&r);
		else
			print_table(&r);
		if (r.failed || !balanced)
			rc = 1;
	}
	free(r.rows);
	hm_arena_fini(&r.arena);
	return rc;
}
