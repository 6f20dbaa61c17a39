/*
 * facts.c - values a message needs before it can be rendered
 *
 *   room on its channel ─▶ all remembered? ── yes ──────────────────────────▶ rendered, joined (send.c)
 *                             │ no                                              ▲
 *                             ▼                                                 │ gates once more
 *                          ASKING (d.asking) ── the last answer, or its time ───┤
 *                                                                               └─ a value is missing and has no
 *                                                                                  fallback: held, as after a retry
 *
 * A message that asks keeps its place on the channel (chan.asking), so that no more are expanded than can leave.
 * Values are those of the moment of sending: a message that had to wait with them (a channel at rest, a retry) asks
 * again, which costs a look into the cache as long as they are good. Once a part of its text is sent they stay.
 */
#include "base/json.h"
#include "dispatch/dispatch_int.h"
#include "facts/facts.h"

#define KEEP_MS	  1000 /* values a message waits with are good for so long, whatever the cache says */
#define VALUE_MAX 200  /* bytes of one value in the ledger */

struct msg_facts {
	uint32_t magic;
	struct msg *m;
	struct hm_arena arena;
	struct hm_facts_waiter w; /* want: one per fact of the template, in its order */
	const struct hm_template_fact *facts;
	msgpack_object root; /* {"facts": {name: value}} */
	bool known;	     /* answers are there, */
	bool whole;	     /* all of them with a value */
	uint64_t known_ms;   /* since when; monotonic */
};

void hm_msg_facts_init(struct hm_dispatch *d)
{
	hm_slab_init(&d->facts_slab, "messages' facts", sizeof(struct msg_facts), 0);
}

/* Off the list, its place on the channel is free again. */
static void asked(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;

	hm_assert(m->where == MSG_ASKING && m->chan->asking > 0);
	hm_list_remove(&d->asking, &m->node);
	m->where = MSG_NOWHERE;
	m->chan->asking--;
	hm_chan_wake_later(m->chan);
}

/* {"facts": {...}} of what has been answered. */
static bool make_root(struct msg_facts *mf)
{
	uint32_t n = (uint32_t)mf->w.n;
	msgpack_object_kv *kv = hm_arena_zalloc(&mf->arena, (n + 1) * sizeof(*kv));

	if (kv == NULL)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		hm_fact_text_value(mf->facts[i].name, false, &kv[i].key);
		kv[i].val = mf->w.want[i].value;
	}
	hm_fact_text_value(HM_STR("facts"), false, &kv[n].key);
	kv[n].val.type = MSGPACK_OBJECT_MAP;
	kv[n].val.via.map.size = n;
	kv[n].val.via.map.ptr = kv;
	mf->root.type = MSGPACK_OBJECT_MAP;
	mf->root.via.map.size = 1;
	mf->root.via.map.ptr = &kv[n];
	return true;
}

/* All answers are there. false: the message has been held or ended. */
static bool complete(struct msg_facts *mf)
{
	struct msg *m = mf->m;

	mf->known = true;
	mf->known_ms = hm_tick_ms(m->job->d->t);
	if (!make_root(mf)) {
		hm_settle_unanswered(m, HM_STR("out of memory"));
		return false;
	}
	for (size_t i = 0; i < mf->w.n; i++) {
		const struct hm_fact_want *w = &mf->w.want[i];

		if (w->reason.len > 0 && !w->fell_back) {
			hm_settle_unanswered(m, w->reason);
			return false;
		}
	}
	mf->whole = true;
	return true;
}

static void on_ready(struct hm_facts_waiter *w)
{
	struct msg_facts *mf = hm_container_of(w, struct msg_facts, w);
	struct msg *m = mf->m;
	struct hm_dispatch *d;

	HM_CHECK(mf, HM_MSG_FACTS_MAGIC);
	HM_CHECK(m, HM_MSG_MAGIC);
	d = m->job->d;
	asked(m);
	if (complete(mf) && hm_gates_pass(m)) /* time has passed */
		hm_msg_go(m);
	hm_dispatch_check_drained(d);
}

static struct msg_facts *facts_new(struct msg *m)
{
	struct hm_dispatch *d = m->job->d;
	struct msg_facts *mf = hm_slab_alloc(&d->facts_slab);

	if (mf == NULL)
		return NULL;
	memset(mf, 0, sizeof(*mf));
	HM_MAGIC_SET(mf, HM_MSG_FACTS_MAGIC);
	mf->m = m;
	hm_arena_init(&mf->arena, &d->t->blocks, 0);
	return mf;
}

/* The keys, rendered for this message. */
static int make_wants(struct msg_facts *mf, struct hm_err *e)
{
	struct msg *m = mf->m;
	struct job *j = m->job;
	struct hm_fact_want *v;
	struct hm_render_env env;

	mf->w.n = hm_template_facts(j->source, &mf->facts);
	hm_assert(mf->w.n <= HM_FACTS_MAX);
	v = hm_arena_zalloc(&mf->arena, mf->w.n * sizeof(*v));
	if (v == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	hm_send_env(m, &mf->arena, &env);
	for (size_t i = 0; i < mf->w.n; i++) {
		v[i].fact = mf->facts[i].fact;
		v[i].fallback = mf->facts[i].fallback;
		if (hm_template_fact_key(j->source, i, &env, &v[i].key, e) != 0)
			return e->code;
	}
	mf->w.want = v;
	mf->w.arena = &mf->arena;
	mf->w.on_ready = on_ready;
	return 0;
}

bool hm_msg_facts(struct msg *m)
{
	struct job *j = m->job;
	struct hm_dispatch *d = j->d;
	struct msg_facts *mf = m->facts;
	struct hm_err e = {0};

	/* The parts of a content are parts of one text: with other values it might be divided elsewhere. */
	if (mf != NULL && mf->whole && (m->part > 0 || hm_tick_ms(d->t) - mf->known_ms <= KEEP_MS))
		return true;
	if (mf == NULL)
		mf = m->facts = facts_new(m);
	else
		hm_arena_reset(&mf->arena);
	if (mf == NULL) {
		hm_settle_unanswered(m, HM_STR("out of memory"));
		return false;
	}
	memset(&mf->w, 0, sizeof(mf->w));
	mf->root = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
	mf->known = mf->whole = false;
	if (make_wants(mf, &e) != 0) {
		hm_settle_final(m, HM_ST_FAILED, hm_str_c(e.text));
		return false;
	}
	if (hm_facts_get(d->deps.facts, &mf->w))
		return complete(mf);
	m->where = MSG_ASKING;
	hm_list_push(&d->asking, &m->node);
	m->chan->asking++;
	return false;
}

const msgpack_object *hm_msg_facts_root(const struct msg *m)
{
	return m->facts != NULL && m->facts->whole ? &m->facts->root : NULL;
}

void hm_msg_facts_free(struct msg *m)
{
	struct msg_facts *mf = m->facts;

	if (mf == NULL)
		return;
	HM_CHECK(mf, HM_MSG_FACTS_MAGIC);
	hm_assert(m->where != MSG_ASKING);
	hm_facts_cancel(&mf->w);
	hm_arena_fini(&mf->arena);
	m->facts = NULL;
	HM_MAGIC_CLEAR(mf);
	hm_slab_free(&m->job->d->facts_slab, mf);
}

void hm_msg_facts_drop(struct hm_dispatch *d)
{
	struct hm_node *n;

	while ((n = hm_list_first(&d->asking)) != NULL) {
		struct msg *m = hm_container_of(n, struct msg, node);

		asked(m);
		hm_msg_drop(m);
	}
}

/* -- for the ledger ------------------------------------------------------------------------------- */

/* A value as JSON, a long one as the beginning of it. */
static void put_value(struct hm_buf *out, const msgpack_object *o, struct hm_arena *a)
{
	struct hm_str s = HM_STR_NULL;
	struct hm_buf b;

	hm_buf_init_arena(&b, a, HM_LEDGER_FACTS_MAX);
	if (o->type == MSGPACK_OBJECT_STR)
		s = hm_str_n(o->via.str.ptr, o->via.str.size);
	else
		hm_msgpack_to_json(o, &b);
	if (s.p == NULL && b.len <= VALUE_MAX && b.err == 0) {
		hm_buf_puts(out, hm_buf_str(&b));
		return;
	}
	if (s.p == NULL)
		s = hm_buf_str(&b);
	hm_buf_putc(out, '"');
	hm_buf_json(out, s.len <= VALUE_MAX ? s : hm_str_n(s.p, hm_utf8_cut(s, VALUE_MAX)));
	if (s.len > VALUE_MAX)
		hm_buf_lit(out, "…");
	hm_buf_putc(out, '"');
}

struct hm_str hm_msg_facts_json(const struct msg *m)
{
	struct msg_facts *mf = m->facts;
	struct hm_buf b, one;
	size_t left = 0;

	if (mf == NULL || !mf->known)
		return HM_STR_NULL;
	hm_buf_init_arena(&b, &mf->arena, HM_LEDGER_FACTS_MAX);
	hm_buf_putc(&b, '{');
	for (size_t i = 0; i < mf->w.n; i++) {
		hm_buf_init_arena(&one, &mf->arena, HM_LEDGER_FACTS_MAX);
		hm_buf_putc(&one, '"');
		hm_buf_json(&one, mf->facts[i].name);
		hm_buf_lit(&one, "\":");
		put_value(&one, &mf->w.want[i].value, &mf->arena);
		if (one.err || b.len + one.len + sizeof(",\"...\":16}") > HM_LEDGER_FACTS_MAX) {
			left++;
			continue;
		}
		if (b.len > 1)
			hm_buf_putc(&b, ',');
		hm_buf_puts(&b, hm_buf_str(&one));
	}
	if (left)
		hm_buf_printf(&b, "%s\"...\":%zu", b.len > 1 ? "," : "", left);
	hm_buf_putc(&b, '}');
	return b.err ? HM_STR_NULL : hm_buf_str(&b);
}
