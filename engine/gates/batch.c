/*
 * batch.c - messages packed into one call: keys, and the bytes script.c takes apart
 *
 * Records and keys are written as messages join; fields of the lists are sorted by slot when the call leaves, because each
 * list is read with one HMGET.
 */
#include "gates/gates_int.h"

#include <stdlib.h>

#include "gates/lists.h"

#define BYTES_MAX (8u << 20)   /* of a part of a call: 128 messages with addresses of 2 kB */
#define KEEP_MAX  (512u << 10) /* larger buffers go back to the heap with their call */
#define LEASE_MIN 1000	       /* ms; a message past its expiry does not come here */

/* -- what a message wants --------------------------------------------------------------------------------- */

void gates_want(const struct hm_gate_subject *s, struct gates_want *w)
{
	w->cat = hm_config_category(s->cfg, s->category);
	w->is_user = s->user.len > 0;
	w->person = w->is_user ? s->user : s->addr;
	w->rules.n = 0;
	w->ask = w->cat->caps && !s->bypass_caps;
	w->count = w->cat->caps && s->count_caps;
	if ((w->ask || w->count) && s->cfg->n_caps > 0 && w->person.len > 0)
		gates_rules_of(s, &w->rules);
	w->caps = w->rules.n > 0;
	if (!w->caps)
		w->ask = w->count = false;
	w->dedupe = w->cat->dedupe && s->dedupe.len > 0 && w->person.len > 0;
	w->content = w->cat->dedupe && w->cat->content_dedupe_ms > 0 && s->content_hash != 0 &&
		     w->person.len > 0;
	w->lists = (w->cat->opt_in || (w->cat->suppression && hm_lists_may_have())) &&
		   (s->user.len > 0 || s->addr.len > 0);
	w->slot = w->person.len ? hm_person_slot(w->person) : 0;
	w->addr_slot = w->is_user && s->addr.len ? hm_person_slot(s->addr) : w->slot;
}

/* -- life --------------------------------------------------------------------------------------------------- */

struct gate_call *gates_call_new(void)
{
	struct gate_call *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	HM_MAGIC_SET(c, GATE_CALL_MAGIC);
	hm_buf_init(&c->keys, BYTES_MAX);
	hm_buf_init(&c->fields, BYTES_MAX);
	hm_buf_init(&c->plans, BYTES_MAX);
	hm_buf_init(&c->recs, BYTES_MAX);
	return c;
}

static void reset(struct hm_buf *b)
{
	if (b->cap > KEEP_MAX)
		hm_buf_fini(b);
	hm_buf_reset(b);
}

void gates_call_reset(struct gate_call *c, struct hm_gates *g, bool settle, uint32_t group)
{
	HM_CHECK(c, GATE_CALL_MAGIC);
	reset(&c->keys);
	reset(&c->fields);
	reset(&c->plans);
	reset(&c->recs);
	c->g = g;
	c->settle = settle;
	c->left = false;
	c->group = group;
	c->since_ms = 0;
	c->n = c->n_keys = c->n_plans = c->n_runs = c->n_lists = 0;
	memset(c->run_head, 0, sizeof(c->run_head));
}

void gates_call_free(struct gate_call *c)
{
	HM_CHECK(c, GATE_CALL_MAGIC);
	hm_buf_fini(&c->keys);
	hm_buf_fini(&c->fields);
	hm_buf_fini(&c->plans);
	hm_buf_fini(&c->recs);
	HM_MAGIC_CLEAR(c);
	free(c);
}

bool gates_call_full(const struct gate_call *c)
{
	return c->n >= (c->queue == GATES_BULK ? GATE_BULK_MAX : GATE_CALL_MAX) ||
	       c->n_plans == GATE_PLANS_MAX || c->n_keys + c->n_lists + 5 > GATE_KEYS_MAX ||
	       c->fields.len + c->keys.len > BYTES_MAX / 2;
}

/* -- keys --------------------------------------------------------------------------------------------------- */

/* The address of a mailbox as the lists know it: its case makes no other person. */
static void put_person_text(struct hm_buf *b, const struct gates_want *w)
{
	size_t from = b->len;

	hm_buf_puts(b, w->person);
	if (w->is_user || hm_str_chr(w->person, '@') < 0)
		return;
	for (size_t i = from; i < b->len; i++)
		if (b->p[i] >= 'A' && b->p[i] <= 'Z')
			b->p[i] = (char)(b->p[i] + 32);
}

/* "u:<user>", "a:<address>"; long ones as U: or A: and 128 bits of hash */
static void put_person(struct hm_buf *b, const struct gates_want *w)
{
	size_t from;

	hm_buf_put(b, w->is_user ? "u:" : "a:", 2);
	from = b->len;
	put_person_text(b, w);
	if (w->person.len > GATE_PERSON_MAX && b->err == 0) {
		uint64_t h[2] = {hm_hash64(b->p + from, b->len - from, 0x68726d31),
				 hm_hash64(b->p + from, b->len - from, 0x68726d32)};

		b->len = from;
		b->p[from - 2] = w->is_user ? 'U' : 'A';
		hm_buf_hex(b, h, sizeof(h));
	}
}

/* c: caps, d: the job's dedupe key, h: hash of the content */
static void put_key(struct gate_call *c, const struct gates_slot *slots, const struct gates_want *w,
		    char kind, struct hm_str text, uint64_t hash)
{
	const struct gates_slot *slot = &slots[w->slot];
	struct hm_buf *b = &c->keys;
	size_t from = b->len;
	char what[2] = {kind, ':'};

	hm_buf_put(b, slot->base, slot->base_len);
	hm_buf_put(b, what, 2);
	put_person(b, w);
	if (kind != 'c') {
		hm_buf_putc(b, '\x1f');
		if (kind == 'd')
			hm_buf_puts(b, text);
		else
			hm_buf_hex(b, &hash, sizeof(hash));
	}
	hm_assert(c->n_keys < GATE_KEYS_MAX);
	c->key[c->n_keys].off = (uint32_t)from;
	c->key[c->n_keys++].len = (uint32_t)(b->len - from);
}

static void put_keys(struct gate_call *c, const struct gates_slot *slots, const struct hm_gate_subject *s,
		     const struct gates_want *w)
{
	if (w->caps)
		put_key(c, slots, w, 'c', HM_STR_NULL, 0);
	if (w->dedupe)
		put_key(c, slots, w, 'd', s->dedupe, 0);
	if (w->content)
		put_key(c, slots, w, 'h', HM_STR_NULL, s->content_hash);
}

/* The number of the plan, from 1 on. Most messages of a batch are under the same rules at the same moment. */
static uint8_t put_plan(struct gate_call *c, const struct hm_gate_subject *s, const struct gates_want *w,
			bool windows)
{
	size_t from = c->plans.len;
	uint64_t h;

	gates_plan(s, &w->rules, windows, &c->plans);
	if (c->plans.err)
		return 0;
	h = hm_hash64(c->plans.p + from, c->plans.len - from, 0);
	for (uint32_t i = c->n_plans; i-- > 0;)
		if (c->plan_hash[i] == h) {
			c->plans.len = from;
			return (uint8_t)(i + 1);
		}
	hm_assert(c->n_plans < GATE_PLANS_MAX);
	c->plan_hash[c->n_plans++] = h;
	return (uint8_t)c->n_plans;
}

/* -- the lists ------------------------------------------------------------------------------------------------ */

static unsigned fields_of_list(const struct hm_gate_subject *s)
{
	return s->category.len ? GATES_FIELDS : GATES_FIELDS / 2;
}

/* Medium and category, medium, category, nothing: what the answer counts from 0. */
static void put_list(struct hm_buf *b, const struct hm_gate_subject *s, enum hm_suppress_kind kind,
		     struct hm_str subject)
{
	struct hm_suppress_entry x = {.kind = kind, .subject = subject};
	unsigned n = fields_of_list(s);

	for (unsigned i = 0; i < n; i++) {
		size_t at = b->len;

		x.category = n == GATES_FIELDS && i % 2 == 0 ? s->category : HM_STR_NULL;
		x.medium = i < n / 2 ? s->medium : -1;
		hm_buf_put(b, "\0\0", 2);
		hm_suppress_field(&x, b);
		if (b->err)
			return;
		b->p[at] = (char)(b->len - at - 2);
		b->p[at + 1] = (char)((b->len - at - 2) >> 8);
	}
}

static void put_lists(struct gate_call *c, const struct hm_gate_subject *s, const struct gates_want *w,
		      bool user)
{
	struct hm_str subject = user ? s->user : s->addr;
	uint32_t slot = user ? w->slot : w->addr_slot;
	struct gate_run *r;

	if (subject.len == 0)
		return;
	hm_assert(c->n_runs < hm_countof(c->run));
	r = &c->run[c->n_runs++];
	r->off = (uint32_t)c->fields.len;
	if (w->cat->suppression)
		put_list(&c->fields, s, user ? HM_SUPPRESS_USER : HM_SUPPRESS_ADDRESS, subject);
	if (w->cat->opt_in)
		put_list(&c->fields, s, user ? HM_CONSENT_USER : HM_CONSENT_ADDRESS, subject);
	r->len = (uint32_t)(c->fields.len - r->off);
	r->n = (uint8_t)((w->cat->suppression + w->cat->opt_in) * fields_of_list(s));
	r->user = user;
	r->rec = (uint16_t)c->n;
	r->next = 0;
	if (c->run_head[slot]) {
		c->run[c->run_tail[slot] - 1].next = (uint16_t)c->n_runs;
	} else {
		c->run_head[slot] = (uint16_t)c->n_runs;
		c->n_lists++;
	}
	c->run_tail[slot] = (uint16_t)c->n_runs;
}

/* -- records ---------------------------------------------------------------------------------------------------- */

uint32_t gates_call_ask(struct gate_call *c, const struct gates_slot *slots, const struct hm_gate_subject *s,
			const struct gates_want *w, bool person, bool user, bool addr)
{
	uint64_t lease = s->expires_ms ? s->expires_ms : s->now_ms + s->cfg->settings.dispatch.deadline_ms;
	bool whole = !w->lists || ((user || s->user.len == 0) && (addr || s->addr.len == 0));
	unsigned flags = 0, plan = 0;

	hm_assert(!gates_call_full(c));
	if (person) {
		flags |= (w->count ? GATES_COUNT : 0u) | (w->ask ? GATES_ASK : 0u) |
			 (w->dedupe ? GATES_DEDUPE : 0u) | (w->content ? GATES_CONTENT : 0u);
		if (w->caps)
			plan = put_plan(c, s, w, true);
		put_keys(c, slots, s, w);
	}
	if (w->cat->opt_in && whole)
		flags |= GATES_OPT_IN;
	if (w->lists && user)
		put_lists(c, s, w, true);
	if (w->lists && addr)
		put_lists(c, s, w, false);
	gates_put_int(&c->recs, flags, 1);
	gates_put_int(&c->recs, plan, 1);
	hm_buf_put(&c->recs, s->msg.b, 16);
	gates_put_int(&c->recs, s->now_ms, 6);
	gates_put_int(&c->recs, hm_max(lease, s->now_ms + LEASE_MIN), 6);
	gates_put_int(&c->recs, 0, 4); /* first fields: known when it is sent */
	gates_put_int(&c->recs, w->cat->suppression ? fields_of_list(s) : 0, 1);
	gates_put_int(&c->recs, w->cat->opt_in ? fields_of_list(s) : 0, 1);
	return c->n++;
}

void gates_call_settle(struct gate_call *c, const struct gates_slot *slots, const struct hm_gate_subject *s,
		       const struct gates_want *w, bool commit)
{
	unsigned flags = (commit ? GATES_COMMIT : 0u) | (w->dedupe ? GATES_DEDUPE : 0u) |
			 (w->content ? GATES_CONTENT : 0u);

	hm_assert(!gates_call_full(c));
	gates_put_int(&c->recs, flags, 1);
	gates_put_int(&c->recs, w->caps ? put_plan(c, s, w, false) : 0, 1);
	hm_buf_put(&c->recs, s->msg.b, 16);
	gates_put_int(&c->recs, s->now_ms, 6);
	gates_put_int(&c->recs, s->cfg->settings.gates.dedupe_window_ms, 6);
	gates_put_int(&c->recs, w->cat->content_dedupe_ms, 6);
	put_keys(c, slots, s, w);
	c->n++;
}

void gates_call_dead(struct gate_call *c, uint32_t record)
{
	hm_assert(record < c->n && !c->settle);
	if (c->recs.err == 0)
		c->recs.p[record * GATES_ASK_BYTES] |= (char)GATES_DEAD;
}

/* -- sending ---------------------------------------------------------------------------------------------------- */

/* Lists in the order of their slots; tells the records where their fields are. */
static uint32_t put_all_lists(struct gate_call *c, struct hm_str *keys, const struct gates_slot *slots,
			      struct hm_buf *blob)
{
	uint32_t n = 0, field = 1;

	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		size_t at = blob->len;
		uint32_t in_list = 0;

		if (c->run_head[k] == 0)
			continue;
		keys[n++] = hm_str_n(slots[k].supp, slots[k].supp_len);
		gates_put_int(blob, 0, 2);
		for (uint32_t i = c->run_head[k]; i; i = c->run[i - 1].next) {
			const struct gate_run *r = &c->run[i - 1];
			char *rec = c->recs.p + (size_t)r->rec * GATES_ASK_BYTES + (r->user ? 30 : 32);

			rec[0] = (char)(field + in_list);
			rec[1] = (char)((field + in_list) >> 8);
			in_list += r->n;
			hm_buf_put(blob, c->fields.p + r->off, r->len);
		}
		if (blob->err)
			break;
		blob->p[at] = (char)in_list;
		blob->p[at + 1] = (char)(in_list >> 8);
		field += in_list;
	}
	return n;
}

bool gates_call_send(struct gate_call *c, struct hm_redis *r, const struct gates_slot *slots,
		     struct hm_buf *blob, hm_reply_fn fn)
{
	struct hm_str keys[GATE_KEYS_MAX], arg;
	uint32_t n = 0;

	if (c->keys.err || c->fields.err || c->plans.err || c->recs.err)
		return false;
	hm_assert(c->recs.len == (size_t)c->n * (c->settle ? GATES_SETTLE_BYTES : GATES_ASK_BYTES));
	hm_buf_reset(blob);
	gates_put_int(blob, c->n, 2);
	gates_put_int(blob, c->n_plans, 1);
	if (!c->settle) {
		gates_put_int(blob, c->n_lists, 1);
		n = put_all_lists(c, keys, slots, blob);
	}
	hm_buf_puts(blob, hm_buf_str(&c->plans));
	hm_buf_puts(blob, hm_buf_str(&c->recs));
	if (blob->err)
		return false;
	for (uint32_t i = 0; i < c->n_keys; i++)
		keys[n++] = hm_str_n(c->keys.p + c->key[i].off, c->key[i].len);
	arg = hm_buf_str(blob);
	hm_assert(n > 0 && n <= GATE_KEYS_MAX);
	hm_redis_eval(r, c->settle ? &gates_settle_script : &gates_ask_script, keys, n, &arg, 1, fn, c);
	return true;
}

/* -- lists alone -------------------------------------------------------------------------------------------------- */

bool gates_call_lists_only(const struct gate_call *c)
{
	return !c->settle && c->n_keys == 0;
}

void gates_call_fields(const struct gate_call *c, uint32_t record, unsigned *lists, unsigned *consents)
{
	const char *rec = c->recs.p + (size_t)record * GATES_ASK_BYTES;

	*lists = (unsigned char)rec[34];
	*consents = (unsigned char)rec[35];
}

bool gates_call_needs_consent(const struct gate_call *c, uint32_t record)
{
	return (c->recs.p[(size_t)record * GATES_ASK_BYTES] & GATES_OPT_IN) != 0;
}

bool gates_call_send_lists(struct gate_call *c, struct hm_redis *r, const struct gates_slot *slots,
			   hm_reply_fn fn)
{
	struct hm_str argv[2 + hm_countof(c->run) * 2 * GATES_FIELDS];

	if (c->fields.err || c->recs.err)
		return false;
	hm_assert(c->n_lists > 0);
	c->lists_open = c->n_lists;
	c->lists_err.code = 0;
	argv[0] = HM_STR("HMGET");
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		size_t n = 2;

		if (c->run_head[k] == 0)
			continue;
		argv[1] = hm_str_n(slots[k].supp, slots[k].supp_len);
		for (uint32_t i = c->run_head[k]; i; i = c->run[i - 1].next) {
			const struct gate_run *run = &c->run[i - 1];
			const char *p = c->fields.p + run->off;

			for (unsigned f = 0; f < run->n; f++) {
				size_t len = (unsigned char)p[0] | (size_t)(unsigned char)p[1] << 8;

				argv[n++] = hm_str_n(p + 2, len);
				p += 2 + len;
			}
		}
		c->list[k].c = c;
		hm_redis_send(r, argv[1], argv, n, fn, &c->list[k]);
	}
	return true;
}
