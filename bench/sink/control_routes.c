/*
 * control_routes.c - what the control API can do, as a table
 */
#include <stdlib.h>

#include "conn.h"
#include "control.h"
#include "recent.h"
#include "script.h"
#include "tokens.h"

static void fail(struct control_reply *r, int status, const char *text)
{
	hm_buf_reset(&r->body);
	r->status = status;
	hm_buf_lit(&r->body, "{\"error\":\"");
	hm_buf_json(&r->body, hm_str_c(text));
	hm_buf_lit(&r->body, "\"}\n");
}

static void fail_err(struct control_reply *r, const struct hm_err *e)
{
	char text[640];

	hm_err_format(e, text, sizeof(text));
	/* What the engine calls a wrong configuration is, here, a wrong request. */
	fail(r, e->code == HM_ECONFIG ? 400 : hm_err_http(e->code), text);
}

static void ok(struct control_reply *r)
{
	hm_buf_lit(&r->body, "{\"ok\":true}\n");
}

/* Python and others write characters beyond the BMP as two \u escapes, which YAML does not know: make them text. */
static void join_surrogates(struct hm_str in, struct hm_buf *out)
{
	for (size_t i = 0; i < in.len;) {
		char hex[9], enc[4];
		unsigned long hi, lo;

		if (in.p[i] == '\\' && i + 1 < in.len && in.p[i + 1] != 'u') {
			hm_buf_put(out, in.p + i, 2);
			i += 2;
			continue;
		}
		if (in.p[i] == '\\' && i + 12 <= in.len && in.p[i + 6] == '\\' && in.p[i + 7] == 'u') {
			memcpy(hex, in.p + i + 2, 4);
			memcpy(hex + 4, in.p + i + 8, 4);
			hex[8] = '\0';
			lo = strtoul(hex + 4, NULL, 16);
			hex[4] = '\0';
			hi = strtoul(hex, NULL, 16);
			if (hi >= 0xd800 && hi < 0xdc00 && lo >= 0xdc00 && lo < 0xe000) {
				hm_buf_put(out, enc,
					   hm_utf8_encode((uint32_t)(0x10000 + ((hi - 0xd800) << 10) +
								     (lo - 0xdc00)),
							  enc));
				i += 12;
				continue;
			}
		}
		hm_buf_putc(out, in.p[i++]);
	}
}

/* Body as a tree; an empty body is an empty map. Answers the error itself. */
static bool read_body(struct control_req *q, struct hm_arena *a, const struct hm_yaml **doc_r,
		      struct control_reply *r)
{
	static const struct hm_yaml empty = {.type = HM_YAML_MAP, .file = "body", .line = 1, .col = 1};
	struct hm_err e;
	struct hm_yaml *doc;
	struct hm_buf text;
	bool good;

	hm_err_clear(&e);
	if (hm_str_trim(q->body).len == 0) {
		*doc_r = &empty;
		return true;
	}
	hm_buf_init(&text, 2 * CONTROL_MAX_BODY);
	join_surrogates(q->body, &text);
	good = hm_yaml_parse(a, "body", hm_buf_str(&text), &doc, &e) == 0;
	hm_buf_fini(&text);
	if (good)
		*doc_r = doc;
	else
		fail_err(r, &e);
	return good;
}

static unsigned profile_param(struct control_req *q, struct control_reply *r)
{
	struct hm_str v = form_get(hm_str_n(q->path.p + q->path.len + 1,
					    q->url.len > q->path.len ? q->url.len - q->path.len - 1 : 0),
				   "profile", &q->scratch);
	int index = v.len ? sink_profile_find(v) : 0;

	if (index < 0)
		fail(r, 400, "there is no such profile");
	return index < 0 ? 0 : (unsigned)index;
}

static struct hm_str param(struct control_req *q, const char *name)
{
	if (q->url.len <= q->path.len)
		return HM_STR_NULL;
	return form_get(hm_str_n(q->path.p + q->path.len + 1, q->url.len - q->path.len - 1), name,
			&q->scratch);
}

static bool number_param(struct control_req *q, const char *name, uint64_t def, uint64_t *v_r,
			 struct control_reply *r)
{
	struct hm_str v = param(q, name);
	char text[64];

	*v_r = def;
	if (!v.len || hm_str_u64(v, v_r))
		return true;
	snprintf(text, sizeof(text), "%s is not a number", name);
	fail(r, 400, text);
	return false;
}

/* -- ledger ---------------------------------------------------------------------- */

static uint64_t sum_counts(const struct sink *s, unsigned profile, size_t offset)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < s->n_workers; i++) {
		const char *base = (const char *)&s->workers[i].counts[profile];

		n += atomic_load_explicit((const _Atomic uint64_t *)(const void *)(base + offset),
					  memory_order_relaxed);
	}
	return n;
}

static void put_ledger(const struct ledger_totals *t, struct hm_buf *out)
{
	hm_buf_printf(out, "\"accepted\":%llu,\"unique\":%llu,\"duplicates\":%llu",
		      (unsigned long long)t->accepted, (unsigned long long)t->unique,
		      (unsigned long long)t->duplicates);
	if (t->lost)
		hm_buf_printf(out, ",\"not_stored\":%llu", (unsigned long long)t->lost);
}

static void put_profile(const struct sink *s, unsigned p, uint64_t *requests, struct hm_buf *out)
{
	struct ledger_totals t = {0};
	bool first = true;

	*requests = sum_counts(s, p, offsetof(struct sink_counts, requests));
	if (s->ledger)
		ledger_totals(s->ledger, p, &t);
	hm_buf_printf(out, "\"%s\":{\"requests\":%llu,\"accepted_requests\":%llu,", sink_profile_name(p),
		      (unsigned long long)*requests,
		      (unsigned long long)sum_counts(s, p, offsetof(struct sink_counts, accepted_requests)));
	put_ledger(&t, out);
	hm_buf_lit(out, ",\"status\":{");
	for (unsigned i = 0; i < 600; i++) {
		uint64_t n = sum_counts(s, p, offsetof(struct sink_counts, status) + i * sizeof(uint64_t));

		if (n == 0)
			continue;
		if (i == 0)
			hm_buf_lit(out, "\"none\":");
		else
			hm_buf_printf(out, "%s\"%u\":", first ? "" : ",", i);
		hm_buf_u64(out, n);
		first = false;
	}
	hm_buf_lit(out, "}}");
}

void control_totals(struct sink *s, struct hm_buf *out)
{
	struct ledger_totals t = {0};
	uint64_t all = 0, status[600] = {0};
	bool first = true;

	for (unsigned p = 1; p < sink_profile_count(); p++)
		for (unsigned i = 0; i < 600; i++)
			status[i] += sum_counts(s, p,
						offsetof(struct sink_counts, status) + i * sizeof(uint64_t));
	hm_buf_lit(out, "{\"profiles\":{");
	for (unsigned p = 1; p < sink_profile_count(); p++) {
		uint64_t n;

		if (p > 1)
			hm_buf_putc(out, ',');
		put_profile(s, p, &n, out);
		all += n;
	}
	if (s->ledger)
		ledger_totals(s->ledger, 0, &t);
	hm_buf_printf(out, "},\"requests\":%llu,", (unsigned long long)all);
	put_ledger(&t, out);
	hm_buf_lit(out, ",\"status\":{");
	for (unsigned i = 0; i < 600; i++) {
		if (status[i] == 0)
			continue;
		hm_buf_lit(out, "\"");
		if (!first) {
			out->len--;
			hm_buf_lit(out, ",\"");
		}
		first = false;
		if (i == 0)
			hm_buf_lit(out, "none");
		else
			hm_buf_u64(out, i);
		hm_buf_printf(out, "\":%llu", (unsigned long long)status[i]);
	}
	hm_buf_printf(
		out,
		"},\"connections\":{\"open\":%llu,\"total\":%llu,\"refused\":%llu},\"uptime_ms\":%llu}\n",
		(unsigned long long)atomic_load(&s->open_conns),
		(unsigned long long)atomic_load(&s->total_conns),
		(unsigned long long)atomic_load(&s->refused_conns),
		(unsigned long long)(hm_clock_mono_ns() / 1000000 - s->start_ms));
}

static void get_ledger(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	control_totals(ctl->sink, &r->body);
}

static bool dump_more(struct control *ctl, struct control_reply *r)
{
	return ledger_dump(ctl->sink->ledger, &r->cursor, r->profile, r->min_count, 4096, &r->body);
}

static void get_dump(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	uint64_t min;

	if (!ctl->sink->ledger) {
		fail(r, 409, "the ledger is switched off (--no-ledger)");
		return;
	}
	r->profile = profile_param(q, r);
	if (r->status != 200 || !number_param(q, "min", 1, &min, r))
		return;
	r->min_count = (uint32_t)hm_min(min, (uint64_t)UINT32_MAX);
	r->type = "application/x-ndjson";
	r->more = dump_more;
}

static void get_id(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	unsigned profile = profile_param(q, r);
	struct hm_str id = param(q, "id");
	uint64_t first = 0, last = 0;
	uint32_t n;

	if (r->status != 200)
		return;
	if (!ctl->sink->ledger || profile == 0 || id.len == 0) {
		fail(r, 400, "give profile and id");
		return;
	}
	n = ledger_get(ctl->sink->ledger, profile, id, &first, &last);
	hm_buf_printf(&r->body, "{\"profile\":\"%s\",\"accepted\":%u,\"first_ms\":%llu,\"last_ms\":%llu}\n",
		      sink_profile_name(profile), n, (unsigned long long)first, (unsigned long long)last);
}

static void get_requests(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct recent_filter f = {.path = param(q, "path")};
	uint64_t n;

	f.profile = profile_param(q, r);
	if (r->status != 200 || !number_param(q, "n", 20, &n, r) || !number_param(q, "after", 0, &f.after, r))
		return;
	f.n = (size_t)n;
	if (!ctl->sink->recent)
		fail(r, 409, "requests are not kept (--keep-requests 0)");
	else
		recent_json(ctl->sink->recent, &f, &r->body);
}

/* -- knobs ----------------------------------------------------------------------- */

static void adopt_knobs(struct sink_worker *w, void *arg)
{
	struct sink_knobs *old = w->knobs, *k = arg;

	w->knobs = k;
	if (old->conn.max_streams == k->conn.max_streams)
		return;
	hm_list_foreach (&w->conns, n) {
		struct sink_conn *c = hm_container_of(n, struct sink_conn, node);

		if (c->h2 && (c->opened || !k->conn.first_streams))
			h2_max_streams(c, (uint32_t)k->conn.max_streams);
	}
}

void control_publish(struct control *ctl, struct sink_knobs *k)
{
	struct sink_knobs *old = ctl->sink->knobs;

	if (ctl->sink->n_workers)
		worker_call_all(ctl->sink, adopt_knobs, k);
	ctl->sink->knobs = k;
	free(old);
}

static struct sink_knobs *copy_knobs(const struct sink_knobs *from)
{
	struct sink_knobs *k = malloc(sizeof(*k));

	if (k) {
		memcpy(k->own, from->own, sizeof(k->own));
		memcpy(k->p, from->p, sizeof(k->p));
		k->conn = from->conn;
		for (size_t i = 0; i < SINK_MAX_PROFILES; i++)
			atomic_init(&k->rate_tat_ns[i], 0);
	}
	return k;
}

int control_scenario(struct control *ctl, const struct hm_yaml *doc, struct hm_err *e)
{
	static const char *const keys[] = {"profiles", "connection", "scripts", NULL};
	const struct hm_yaml *scripts = hm_yaml_get(doc, "scripts");
	struct sink_knobs *k;
	size_t added;
	int rc;

	if (doc->type != HM_YAML_MAP)
		return hm_yaml_err(doc, e, HM_ETYPE, "expected a map with profiles, connection or scripts");
	rc = hm_yaml_known(doc, keys, e);
	if (rc)
		return rc;
	k = copy_knobs(ctl->sink->knobs);
	if (!k)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	rc = knobs_apply(k, doc, e);
	if (rc == 0 && scripts)
		rc = scripts_add(ctl->sink->scripts, scripts, &added, e);
	if (rc) {
		free(k);
		return rc;
	}
	control_publish(ctl, k);
	return 0;
}

static void get_knobs(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	knobs_json(ctl->sink->knobs, &r->body);
	hm_buf_putc(&r->body, '\n');
}

static void post_knobs(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct hm_arena a;
	struct hm_err e;
	const struct hm_yaml *doc;

	hm_err_clear(&e);
	hm_arena_init(&a, NULL, 64 << 20);
	if (read_body(q, &a, &doc, r)) {
		if (control_scenario(ctl, doc, &e) == 0)
			ok(r);
		else
			fail_err(r, &e);
	}
	hm_arena_fini(&a);
}

/* -- scripts ---------------------------------------------------------------------- */

static void post_script(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct hm_arena a;
	struct hm_err e;
	const struct hm_yaml *doc;
	size_t added;

	hm_err_clear(&e);
	hm_arena_init(&a, NULL, 64 << 20);
	if (read_body(q, &a, &doc, r)) {
		if (scripts_add(ctl->sink->scripts, doc, &added, &e) == 0)
			hm_buf_printf(&r->body, "{\"added\":%zu}\n", added);
		else
			fail_err(r, &e);
	}
	hm_arena_fini(&a);
}

static void get_scripts(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	scripts_json(ctl->sink->scripts, &r->body);
	hm_buf_putc(&r->body, '\n');
}

static void delete_scripts(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	scripts_reset(ctl->sink->scripts);
	ok(r);
}

/* -- actions ----------------------------------------------------------------------- */

enum action { ACT_GOAWAY, ACT_CLOSE, ACT_RESET, ACT_HALF_OPEN, ACT_GARBAGE };
static const char *const actions[] = {"goaway", "close", "reset", "half_open", "garbage"};

struct act {
	enum action what;
	uint64_t conn; /* 0 = all */
	uint64_t limit;
	int64_t last_stream_id;
	_Atomic uint64_t done;
};

static void act_on(struct sink_conn *c, struct act *a)
{
	switch (a->what) {
	case ACT_GOAWAY:
		if (c->h2)
			h2_goaway(c, (int32_t)a->last_stream_id);
		break;
	case ACT_CLOSE: c->doom = DOOM_NOW; break;
	case ACT_RESET: c->doom = DOOM_RESET; break;
	case ACT_HALF_OPEN:
		c->mute = true;
		uv_read_stop((uv_stream_t *)&c->tcp);
		break;
	case ACT_GARBAGE:
		hm_buf_lit(&c->raw,
			   "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff garbage");
		c->doom = DOOM_AFTER_FLUSH;
		break;
	}
	conn_touch(c);
}

static void act_worker(struct sink_worker *w, void *arg)
{
	struct act *a = arg;

	hm_list_foreach (&w->conns, n) {
		struct sink_conn *c = hm_container_of(n, struct sink_conn, node);

		if ((a->conn && c->id != a->conn) || c->mute)
			continue;
		if (atomic_fetch_add(&a->done, 1) >= a->limit) {
			atomic_fetch_sub(&a->done, 1);
			break;
		}
		act_on(c, a);
	}
}

static int read_action(const struct hm_yaml *doc, struct act *a, struct hm_err *e)
{
	static const char *const keys[] = {"do", "connection", "limit", "last_stream_id", NULL};
	const struct hm_yaml *d = hm_yaml_get(doc, "do"), *c = hm_yaml_get(doc, "connection"),
			     *l = hm_yaml_get(doc, "limit");
	const struct hm_yaml *s = hm_yaml_get(doc, "last_stream_id");
	struct hm_str name = HM_STR_NULL;
	int64_t n;
	size_t i;
	int rc = hm_yaml_known(doc, keys, e);

	if (rc == 0 && d)
		rc = hm_yaml_str(d, &name, e);
	for (i = 0; i < hm_countof(actions); i++)
		if (hm_str_is(name, actions[i]))
			break;
	if (rc == 0 && i == hm_countof(actions))
		rc = hm_yaml_err(d ? d : doc, e, HM_EINVAL,
				 "do must be goaway, close, reset, half_open or garbage");
	a->what = (enum action)i;
	a->limit = UINT64_MAX;
	a->last_stream_id = -1;
	if (rc == 0 && c && (rc = hm_yaml_i64(c, 1, INT64_MAX, &n, e)) == 0)
		a->conn = (uint64_t)n;
	if (rc == 0 && l && (rc = hm_yaml_i64(l, 1, INT64_MAX, &n, e)) == 0)
		a->limit = (uint64_t)n;
	if (rc == 0 && s)
		rc = hm_yaml_i64(s, 0, INT32_MAX, &a->last_stream_id, e);
	return rc;
}

static void post_action(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct hm_arena a;
	struct hm_err e;
	const struct hm_yaml *doc;
	struct act act = {0};

	hm_err_clear(&e);
	hm_arena_init(&a, NULL, 64 << 20);
	if (read_body(q, &a, &doc, r)) {
		if (read_action(doc, &act, &e) == 0) {
			worker_call_all(ctl->sink, act_worker, &act);
			hm_buf_printf(&r->body, "{\"connections\":%llu}\n",
				      (unsigned long long)atomic_load(&act.done));
		} else {
			fail_err(r, &e);
		}
	}
	hm_arena_fini(&a);
}

static void post_tokens(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	static const char *const keys[] = {"do", "profile", NULL};
	struct hm_arena a;
	struct hm_err e;
	const struct hm_yaml *doc;
	struct hm_str what = HM_STR("invalidate"), name = HM_STR_NULL;
	int rc = 0, profile = 0;

	hm_err_clear(&e);
	hm_arena_init(&a, NULL, 64 << 20);
	if (!read_body(q, &a, &doc, r))
		goto out;
	rc = hm_yaml_known(doc, keys, &e);
	if (rc == 0 && hm_yaml_get(doc, "do"))
		rc = hm_yaml_str(hm_yaml_get(doc, "do"), &what, &e);
	if (rc == 0 && hm_yaml_get(doc, "profile"))
		rc = hm_yaml_str(hm_yaml_get(doc, "profile"), &name, &e);
	if (rc == 0 && name.len)
		profile = sink_profile_find(name);
	if (rc == 0 && (profile < 0 || (!hm_str_is(what, "invalidate") && !hm_str_is(what, "expire"))))
		rc = hm_yaml_err(doc, &e, HM_EINVAL,
				 "expected {\"do\": \"invalidate\" or \"expire\", \"profile\": name}");
	if (rc)
		fail_err(r, &e);
	else
		hm_buf_printf(
			&r->body, "{\"tokens\":%zu}\n",
			tokens_invalidate(ctl->sink->tokens, (unsigned)profile, hm_str_is(what, "expire")));
out:
	hm_arena_fini(&a);
}

static void post_clock(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	static const char *const keys[] = {"advance_ms", NULL};
	struct hm_arena a;
	struct hm_err e;
	const struct hm_yaml *doc, *n;
	int64_t ms = 0;
	int rc;

	hm_err_clear(&e);
	hm_arena_init(&a, NULL, 64 << 20);
	if (read_body(q, &a, &doc, r)) {
		n = hm_yaml_get(doc, "advance_ms");
		rc = hm_yaml_known(doc, keys, &e);
		if (rc == 0 && n)
			rc = hm_yaml_i64(n, 0, (int64_t)1 << 40, &ms, &e);
		if (rc == 0) {
			hm_clock_advance_ms((uint64_t)ms);
			hm_buf_printf(&r->body, "{\"now_ms\":%llu}\n",
				      (unsigned long long)hm_clock_wall_ms());
		} else {
			fail_err(r, &e);
		}
	}
	hm_arena_fini(&a);
}

static void reset_counts(struct sink_worker *w, void *arg)
{
	memset(w->counts, 0, SINK_MAX_PROFILES * sizeof(*w->counts));
}

static void post_reset(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct sink_knobs *k = copy_knobs(ctl->at_start);

	scripts_reset(ctl->sink->scripts);
	if (k)
		control_publish(ctl, k);
	worker_call_all(ctl->sink, reset_counts, NULL);
	if (ctl->sink->ledger)
		ledger_reset(ctl->sink->ledger);
	if (ctl->sink->recent)
		recent_reset(ctl->sink->recent);
	ok(r);
}

/* -- descriptions ------------------------------------------------------------------ */

static void get_profiles(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	struct hm_buf *out = &r->body;

	hm_buf_putc(out, '[');
	for (unsigned i = 1; i < sink_profile_count(); i++) {
		const struct sink_profile *p = sink_profile_get(i);

		hm_buf_printf(out, "%s{\"name\":\"%s\",\"what\":\"", i > 1 ? "," : "", p->name);
		hm_buf_json(out, hm_str_c(p->what));
		hm_buf_printf(out, "\",\"target\":\"%s\",\"special\":[", p->target);
		for (size_t n = 0; n < p->n_special; n++)
			hm_buf_printf(out, "%s{\"prefix\":\"%s\",\"name\":\"%s\",\"status\":%d}",
				      n ? "," : "", p->special[n].trigger, p->special[n].name,
				      p->special[n].status);
		hm_buf_lit(out, "]}");
	}
	hm_buf_lit(out, "]\n");
}

static void get_ready(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	hm_buf_puts(&r->body, ctl->ready);
}

static void get_index(struct control *ctl, struct control_req *q, struct control_reply *r);

static const struct {
	const char *method, *path;
	void (*run)(struct control *ctl, struct control_req *q, struct control_reply *r);
	const char *doc;
} routes[] = {
	{"GET", "/control", get_index, "this list"},
	{"GET", "/control/ready", get_ready, "the ports and files, as printed at start"},
	{"GET", "/control/profiles", get_profiles, "profiles and their special targets"},
	{"GET", "/control/ledger", get_ledger,
	 "totals: requests, accepted, unique, duplicates, by profile and status"},
	{"GET", "/control/ledger/dump", get_dump,
	 "JSON lines of every id; ?profile= &min=2 (only duplicates)"},
	{"GET", "/control/ledger/id", get_id, "one id; ?profile= &id="},
	{"GET", "/control/requests", get_requests,
	 "last requests as received; ?n= &profile= &path=prefix &after=number"},
	{"GET", "/control/knobs", get_knobs, "behaviour in force"},
	{"POST", "/control/knobs", post_knobs, "merge {profiles: {...}, connection: {...}, scripts: [...]}"},
	{"GET", "/control/script", get_scripts, "scripts not yet used up"},
	{"POST", "/control/script", post_script, "add {match: {...}, replies: [...]}, or a list of them"},
	{"DELETE", "/control/script", delete_scripts, "forget all scripts"},
	{"POST", "/control/action", post_action,
	 "now: {do: goaway|close|reset|half_open|garbage, connection:, limit:, last_stream_id:}"},
	{"POST", "/control/tokens", post_tokens, "access tokens: {do: invalidate|expire, profile:}"},
	{"POST", "/control/clock", post_clock, "move the sink's clock: {advance_ms:}"},
	{"POST", "/control/reset", post_reset, "empty ledger, counts, requests, scripts; knobs as at start"},
};

static void get_index(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	hm_buf_putc(&r->body, '[');
	for (size_t i = 0; i < hm_countof(routes); i++)
		hm_buf_printf(&r->body, "%s\n{\"method\":\"%s\",\"path\":\"%s\",\"doc\":\"%s\"}",
			      i ? "," : "", routes[i].method, routes[i].path, routes[i].doc);
	hm_buf_lit(&r->body, "\n]\n");
}

void control_route(struct control *ctl, struct control_req *q, struct control_reply *r)
{
	bool path = false;

	for (size_t i = 0; i < hm_countof(routes); i++) {
		if (!hm_str_is(q->path, routes[i].path))
			continue;
		path = true;
		if (hm_str_is(q->method, routes[i].method)) {
			routes[i].run(ctl, q, r);
			return;
		}
	}
	if (path)
		fail(r, 405, "this path has no such method, see GET /control");
	else
		fail(r, 404, "there is no such path, see GET /control");
}
