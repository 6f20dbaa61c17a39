/*
 * callbacks.c - one take: events to where they belong
 *
 *   WHOSE  provider's ids are looked up             (Redis, one script each)
 *   WHERE  addresses of those that go on a list     (thread pool: the ledger)
 *   PUT    receipts to the stream, lists, replies   (Redis)
 */
#include "receipts/callbacks_int.h"

#include <stdio.h>
#include <stdlib.h>

#define TAKE_MAGIC 0x6362746bu
#define KEEP_MS	   UINT64_C(604800000)

struct part { /* beside each event */
	struct take *t;
	size_t i;
	struct hm_ulid id;
	bool has_id, unknown;
	struct hm_str address; /* in the arena; empty: not known */
	char mark[HM_CTL_KEY_MAX];
	enum reply_meaning meaning;
};

struct take {
	uint32_t magic;
	struct hm_node node;
	struct hm_callbacks *cb;
	struct hm_channel_set *set; /* referenced */
	const struct hm_channel *c;
	struct hm_arena arena;
	struct hm_cb_event *v;
	struct part *p;
	size_t n, open;
	bool looks;
	uv_work_t work;
	struct hm_callbacks_sum sum;
	hm_callbacks_fn fn;
	void *arg;
};

struct hm_pid hm_callbacks_pid(const struct hm_callbacks *cb, const struct hm_channel *c)
{
	return (struct hm_pid){cb->deps.prefix, hm_channel_info(c)->name, cb->deps.partitions};
}

void hm_callbacks_maybe_closed(struct hm_callbacks *cb)
{
	void (*fn)(void *) = cb->on_closed;

	if (fn == NULL || cb->looks > 0 || cb->calls > 0)
		return;
	cb->on_closed = NULL;
	fn(cb->closed_arg);
}

static void take_free(struct take *t)
{
	hm_list_remove(&t->cb->takes, &t->node);
	hm_channel_set_unref(t->set);
	hm_arena_fini(&t->arena);
	HM_MAGIC_CLEAR(t);
	free(t);
}

static void done_one(struct take *t)
{
	struct hm_callbacks *cb = t->cb;

	if (--t->open > 0)
		return;
	hm_stats_add(cb->deps.tick->stats, HM_CT_CB_TAKEN, t->sum.taken);
	hm_stats_add(cb->deps.tick->stats, HM_CT_CB_REPEATED, t->sum.repeated);
	hm_stats_add(cb->deps.tick->stats, HM_CT_CB_UNKNOWN, t->sum.unknown);
	t->fn(t->arg, &t->sum);
	take_free(t);
}

static void failed(struct take *t)
{
	t->sum.failed = true;
}

/* -- lists ------------------------------------------------------------------------------ */

/* A mailbox or a number does not exist; an app's token is not valid any more. */
static struct hm_str reason_of(const struct take *t, const struct hm_cb_event *e)
{
	enum hm_medium m = hm_channel_info(t->c)->medium;

	if (e->kind == HM_CB_EV_INVALID && (m == HM_MED_EMAIL || m == HM_MED_SMS || m == HM_MED_VOICE))
		return HM_STR("hard_bounce");
	return hm_str_c(hm_cb_kind_suppress((enum hm_cb_kind)e->kind));
}

static void entry_of(struct part *x, struct hm_str reason, struct hm_suppress_entry *s)
{
	struct take *t = x->t;
	const struct hm_cb_event *e = &t->v[x->i];
	struct hm_str proof;

	proof = hm_arena_printf(&t->arena, "%s%s%.*s%s%.*s%s%.*s", hm_cb_kind_name((enum hm_cb_kind)e->kind),
				e->code.len ? " " : "", HM_STRF(e->code), e->sub.len ? " " : "",
				HM_STRF(e->sub), e->detail.len ? ": " : "", HM_STRF(e->detail));
	proof.len = hm_utf8_cut(proof, HM_SUPPRESS_PROOF_MAX);
	*s = (struct hm_suppress_entry){
		.kind = HM_SUPPRESS_ADDRESS,
		.subject = x->address.len ? x->address : e->recipient,
		.medium = (int)hm_channel_info(t->c)->medium,
		.reason = reason,
		.proof = proof,
		.by = hm_arena_printf(&t->arena, "callback:%.*s", HM_STRF(hm_channel_info(t->c)->name)),
		.at_ms = t->cb->deps.tick->wall_ms,
		.since_ms = e->at_ms,
	};
	s->by.len = hm_min(s->by.len, (size_t)HM_SUPPRESS_BY_MAX);
}

static void on_listed(void *arg, size_t changed, const struct hm_err *err)
{
	struct part *x = arg;

	if (err != NULL)
		failed(x->t);
	else if (changed > 0)
		x->t->sum.taken++;
	else
		x->t->sum.repeated++;
	done_one(x->t);
}

static void put_on_list(struct part *x, struct hm_str reason)
{
	struct hm_callbacks *cb = x->t->cb;
	struct hm_suppress_entry s;
	struct hm_err e = {0};

	entry_of(x, reason, &s);
	if (s.subject.len == 0) {
		x->t->sum.unknown++;
		return;
	}
	if (hm_suppress_check(&s, &e) != 0) {
		HM_WARN(INGEST, "a provider reports an address that no list can hold",
			HM_SV("channel", hm_channel_info(x->t->c)->name), HM_E(&e));
		return;
	}
	x->t->open++;
	hm_suppress_add_new(cb->deps.redis, cb->deps.prefix, s.at_ms, &s, 1, on_listed, x);
}

static void on_unmarked(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	(void)arg;
	(void)reply;
	(void)err;
}

static void on_removed(void *arg, size_t changed, const struct hm_err *err)
{
	struct part *x = arg;
	struct hm_str argv[2] = {HM_STR("DEL"), hm_str_c(x->mark)};

	(void)changed;
	if (err != NULL) { /* it will come again, and must find no mark */
		failed(x->t);
		hm_redis_send(x->t->cb->deps.redis, argv[1], argv, 2, on_unmarked, NULL);
	} else {
		x->t->sum.taken++;
	}
	done_one(x->t);
}

/* Who unsubscribed again after this, stays so. */
static void on_entry(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct part *x = arg;
	struct take *t = x->t;
	struct hm_suppress_entry s, now;
	struct hm_err e = {0};
	struct hm_buf field;

	entry_of(x, HM_STR("unsubscribe"), &s);
	hm_buf_init_arena(&field, &t->arena, 8192);
	hm_suppress_field(&s, &field);
	if (reply == NULL) {
		on_removed(x, 0, err);
		return;
	}
	if (reply->type == HM_REPLY_STR && reply->s.len > 0 &&
	    hm_suppress_parse(hm_buf_str(&field), reply->s, &t->arena, &now, &e) == 0 &&
	    (now.since_ms > t->v[x->i].at_ms || !hm_str_is(now.reason, "unsubscribe"))) {
		t->sum.repeated++;
		done_one(t);
		return;
	}
	hm_suppress_remove(t->cb->deps.redis, t->cb->deps.prefix, t->cb->deps.tick->wall_ms, &s, 1,
			   on_removed, x);
}

static void on_mark(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct part *x = arg;
	struct take *t = x->t;
	struct hm_suppress_entry s;
	char key[HM_SUPPRESS_KEY_MAX];
	struct hm_str argv[3];
	struct hm_buf field;

	(void)err;
	if (reply == NULL) {
		failed(t);
		done_one(t);
		return;
	}
	if (!hm_reply_is(reply, "OK")) {
		t->sum.repeated++;
		done_one(t);
		return;
	}
	entry_of(x, HM_STR("unsubscribe"), &s);
	hm_buf_init_arena(&field, &t->arena, 8192);
	hm_suppress_field(&s, &field);
	argv[0] = HM_STR("HGET");
	argv[1] = hm_str_n(
		key, hm_person_key(t->cb->deps.prefix, hm_person_slot(s.subject), "supp", key, sizeof(key)));
	argv[2] = hm_buf_str(&field);
	hm_redis_send(t->cb->deps.redis, argv[1], argv, 3, on_entry, x);
}

static void take_off_list(struct part *x)
{
	struct take *t = x->t;
	struct hm_str argv[6] = {HM_STR("SET"), hm_str_c(x->mark), HM_STR("1"), HM_STR("NX"), HM_STR("PX")};
	struct hm_suppress_entry s;
	char keep[24];

	entry_of(x, HM_STR("unsubscribe"), &s);
	if (s.subject.len == 0 || s.subject.len > HM_SUPPRESS_SUBJECT_MAX) {
		t->sum.unknown++;
		return;
	}
	snprintf(keep, sizeof(keep), "%llu", (unsigned long long)KEEP_MS);
	argv[5] = hm_str_c(keep);
	t->open++;
	hm_redis_send(t->cb->deps.redis, argv[1], argv, 6, on_mark, x);
}

/* -- replies ------------------------------------------------------------------------------- */

static void on_reply_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct part *x = arg;

	(void)err;
	if (reply == NULL)
		failed(x->t);
	else if (reply->i == 0)
		x->t->sum.repeated++;
	else
		x->t->sum.taken++;
	done_one(x->t);
}

static void take_reply(struct part *x, const struct hm_settings *set)
{
	struct take *t = x->t;
	char id[HM_ULID_TEXT + 1] = "";

	x->meaning = hm_reply_meaning(set, t->v[x->i].text);
	if (x->has_id)
		hm_ulid_text(&x->id, id);
	t->open++;
	hm_reply_put(t->cb, t->c, &t->v[x->i], hm_str_c(id), x->meaning, x->mark, on_reply_put, x);
	if (x->meaning == REPLY_STOP)
		put_on_list(x, HM_STR("unsubscribe"));
	/* A mark of its own: that of the reply is set by its script. */
	if (x->meaning == REPLY_START) {
		size_t n = strlen(x->mark);

		snprintf(x->mark + n, sizeof(x->mark) - n, "+");
		take_off_list(x);
	}
}

/* -- receipts ------------------------------------------------------------------------------- */

static void on_receipts(void *arg, const struct hm_receipt_item *v, size_t n)
{
	struct take *t = arg;

	HM_CHECK(t, TAKE_MAGIC);
	for (size_t i = 0; i < n; i++) {
		if (v[i].result == HM_RECEIPT_LOST)
			failed(t);
		else if (v[i].result == HM_RECEIPT_REPEAT)
			t->sum.repeated++;
		else
			t->sum.taken++;
	}
	done_one(t);
}

static void put_receipts(struct take *t)
{
	struct hm_receipt_item *v = hm_arena_zalloc(&t->arena, t->n * sizeof(*v) + 1);
	struct hm_str name = hm_channel_info(t->c)->name;
	size_t n = 0;

	if (v == NULL) {
		failed(t);
		return;
	}
	for (size_t i = 0; i < t->n; i++) {
		int rc = hm_cb_kind_receipt((enum hm_cb_kind)t->v[i].kind);

		if (rc < 0 || !t->p[i].has_id)
			continue;
		v[n].id = t->p[i].id;
		v[n].event = (uint8_t)rc;
		v[n].at_ms = t->v[i].at_ms;
		memcpy(v[n].channel, name.p, hm_min(name.len, (size_t)HM_RECEIPT_CHANNEL_MAX));
		n++;
	}
	if (n == 0)
		return;
	t->open++;
	if (!hm_receipts_take_durable(t->cb->deps.receipts, v, n, on_receipts, t)) {
		t->open--;
		failed(t);
	}
}

/* The same event of the same provider, whenever and wherever it comes again. */
static void make_mark(struct part *x)
{
	struct take *t = x->t;
	const struct hm_cb_event *e = &t->v[x->i];
	struct hm_str name = hm_channel_info(t->c)->name, parts[7] = {name, e->dedupe};
	uint64_t h = e->kind, g;
	char what[48];
	size_t n = 2;

	if (e->dedupe.len == 0) {
		parts[n++] = e->provider_id;
		parts[n++] = e->recipient;
		parts[n++] = e->text;
		parts[n++] = hm_arena_printf(&t->arena, "%llu", (unsigned long long)e->at_ms);
		if (x->has_id)
			parts[n++] = hm_str_n((const char *)x->id.b, sizeof(x->id.b));
	}
	g = ~h;
	for (size_t i = 0; i < n; i++) {
		h = hm_hash64(parts[i].p, parts[i].len, h + 1);
		g = hm_hash64(parts[i].p, parts[i].len, g + 1);
	}
	snprintf(what, sizeof(what), "cb:%016llx%016llx", (unsigned long long)h, (unsigned long long)g);
	hm_ctl_key(t->cb->deps.prefix, what, x->mark, sizeof(x->mark));
}

static void put(struct take *t)
{
	struct hm_callbacks_now now;

	t->open = 1;
	t->cb->deps.now(t->cb->deps.arg, &now);
	put_receipts(t);
	for (size_t i = 0; i < t->n; i++) {
		struct part *x = &t->p[i];
		struct hm_str reason = reason_of(t, &t->v[i]);

		if (x->unknown)
			t->sum.unknown++;
		make_mark(x);
		if (t->v[i].kind == HM_CB_EV_REPLIED)
			take_reply(x, now.settings);
		else if (t->v[i].kind == HM_CB_EV_RESUBSCRIBED)
			take_off_list(x);
		else if (reason.len > 0)
			put_on_list(x, reason);
		else if (hm_cb_kind_receipt((enum hm_cb_kind)t->v[i].kind) >= 0 && !x->has_id && !x->unknown)
			t->sum.unknown++;
	}
	done_one(t);
}

/* -- whose, where --------------------------------------------------------------------------- */

static bool wants_address(const struct take *t, size_t i)
{
	return t->p[i].has_id && t->p[i].address.len == 0 &&
	       (hm_cb_kind_suppress((enum hm_cb_kind)t->v[i].kind)[0] != '\0' ||
		t->v[i].kind == HM_CB_EV_RESUBSCRIBED);
}

static void on_pool(uv_work_t *w)
{
	struct take *t = hm_container_of(w, struct take, work);

	for (size_t i = 0; i < t->n; i++) {
		struct hm_ledger_msg m;
		struct hm_err e = {0};

		if (wants_address(t, i) &&
		    hm_ledger_get_msg(t->cb->deps.ledger, &t->p[i].id, &t->arena, &m, &e) == 0)
			t->p[i].address = m.address;
	}
}

static void on_looked(uv_work_t *w, int status)
{
	struct take *t = hm_container_of(w, struct take, work);
	struct hm_callbacks *cb = t->cb;

	HM_CHECK(t, TAKE_MAGIC);
	(void)status;
	cb->looks--;
	put(t);
	hm_callbacks_maybe_closed(cb);
}

static void where(struct take *t)
{
	bool any = false;
	int rc;

	for (size_t i = 0; i < t->n; i++)
		any |= wants_address(t, i);
	if (!any || t->cb->deps.ledger == NULL || t->cb->stopped) {
		put(t);
		return;
	}
	t->cb->looks++;
	rc = uv_queue_work(t->cb->deps.tick->loop, &t->work, on_pool, on_looked);
	hm_assert(rc == 0); /* fails only for a NULL callback */
}

static void whose_done(struct take *t)
{
	if (--t->open > 0)
		return;
	if (t->sum.failed) { /* nothing has been done: all of it comes again */
		t->open = 1;
		done_one(t);
		return;
	}
	where(t);
}

static void on_found(void *arg, const struct hm_pid_found *f, const struct hm_err *err)
{
	struct part *x = arg;
	struct take *t = x->t;

	HM_CHECK(t, TAKE_MAGIC);
	if (err != NULL) {
		failed(t);
	} else if (f->known) {
		x->id = f->id;
		x->has_id = true;
		if (f->address.len > 0)
			x->address = hm_arena_str(&t->arena, f->address);
	} else {
		x->unknown = true;
	}
	whose_done(t);
}

static void whose(struct take *t)
{
	struct hm_pid pid = hm_callbacks_pid(t->cb, t->c);

	t->open = 1;
	for (size_t i = 0; i < t->n; i++) {
		const struct hm_cb_event *e = &t->v[i];
		struct part *x = &t->p[i];

		x->t = t;
		x->i = i;
		x->id = e->id;
		x->has_id = e->has_id;
		if (x->has_id || e->provider_id.len == 0)
			continue;
		t->open++;
		hm_pid_find(t->cb->deps.redis, &pid, e->provider_id, e->recipient,
			    hm_cb_kind_receipt((enum hm_cb_kind)e->kind), e->at_ms, on_found, x);
	}
	whose_done(t);
}

/* -- taking ---------------------------------------------------------------------------------- */

static void copy(struct hm_str *s, struct hm_arena *a)
{
	*s = s->len ? hm_arena_str(a, *s) : HM_STR("");
}

bool hm_callbacks_take(struct hm_callbacks *cb, const struct hm_channel *c, const struct hm_cb_event *v,
		       size_t n, hm_callbacks_fn fn, void *arg)
{
	struct take *t;

	HM_CHECK(cb, CALLBACKS_MAGIC);
	if (cb->stopped || cb->takes.len >= TAKES_MAX || (t = calloc(1, sizeof(*t))) == NULL)
		return false;
	HM_MAGIC_SET(t, TAKE_MAGIC);
	t->cb = cb;
	t->c = c;
	t->set = hm_channel_set_ref(hm_channel_set_of(c));
	t->fn = fn;
	t->arg = arg;
	t->n = n;
	hm_arena_init(&t->arena, NULL, 0); /* used in the pool too: not the loop's blocks */
	hm_list_push(&cb->takes, &t->node);
	t->v = hm_arena_zalloc(&t->arena, n * sizeof(*v) + 1);
	t->p = hm_arena_zalloc(&t->arena, n * sizeof(*t->p) + 1);
	if (t->v == NULL || t->p == NULL) {
		take_free(t);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		struct hm_cb_event *e = &t->v[i];

		*e = v[i];
		copy(&e->provider_id, &t->arena);
		copy(&e->recipient, &t->arena);
		copy(&e->code, &t->arena);
		copy(&e->sub, &t->arena);
		copy(&e->detail, &t->arena);
		copy(&e->text, &t->arena);
		copy(&e->dedupe, &t->arena);
	}
	whose(t);
	return true;
}

bool hm_receipts_session_event(struct hm_callbacks *cb, const struct hm_channel *c,
			       const struct hm_cb_field *fields, size_t n, hm_callbacks_fn fn, void *arg)
{
	struct hm_arena a;
	struct hm_cb_result r;
	bool ok;

	HM_CHECK(cb, CALLBACKS_MAGIC);
	hm_arena_init(&a, &cb->deps.tick->blocks, 1u << 20);
	hm_channel_session_events(c, fields, n, cb->deps.tick->wall_ms, &a, &r);
	hm_stats_add(cb->deps.tick->stats, HM_CT_CB_IGNORED, r.ignored);
	ok = hm_callbacks_take(cb, c, r.events, r.n, fn, arg);
	hm_arena_fini(&a);
	return ok;
}

/* -- life ------------------------------------------------------------------------------------- */

struct hm_callbacks *hm_callbacks_new(const struct hm_callbacks_deps *deps)
{
	struct hm_callbacks *cb = calloc(1, sizeof(*cb));

	if (cb == NULL)
		return NULL;
	HM_MAGIC_SET(cb, CALLBACKS_MAGIC);
	cb->deps = *deps;
	hm_list_init(&cb->takes);
	if (deps->poll && (cb->pull = hm_puller_new(cb)) == NULL) {
		free(cb);
		return NULL;
	}
	return cb;
}

void hm_callbacks_close(struct hm_callbacks *cb, void (*on_closed)(void *arg), void *arg)
{
	HM_CHECK(cb, CALLBACKS_MAGIC);
	hm_assert(!cb->stopped);
	cb->stopped = true;
	if (cb->pull != NULL)
		hm_puller_stop(cb->pull);
	cb->on_closed = on_closed;
	cb->closed_arg = arg;
	hm_callbacks_maybe_closed(cb);
}

void hm_callbacks_free(struct hm_callbacks *cb)
{
	if (cb == NULL)
		return;
	HM_CHECK(cb, CALLBACKS_MAGIC);
	hm_assert(cb->looks == 0 && hm_list_empty(&cb->takes));
	hm_puller_free(cb->pull);
	HM_MAGIC_CLEAR(cb);
	free(cb);
}
