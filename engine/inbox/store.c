/*
 * store.c - calls of the scripts, and what they answer
 */
#include "inbox/store_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/obj.h"
#include "gates/suppress.h"

#define ASK_MAGIC 0x69626173u
#define KEYS_N	  8
#define B	  (UINT64_C(1) << 40)
#define HEAD	  21 /* of a record */

const char *hm_inbox_state_name(unsigned state)
{
	static const char *const names[HM_INBOX_STATES] = {"unread", "read", "archived"};

	return state < HM_INBOX_STATES ? names[state] : "?";
}

const char *hm_inbox_action_name(unsigned action)
{
	static const char *const names[HM_INBOX_ACTIONS] = {"read", "unread", "archive", "unarchive",
							    "delete"};

	return action < HM_INBOX_ACTIONS ? names[action] : "?";
}

/* -- keys -------------------------------------------------------------------------------------------- */

struct keys {
	char text[KEYS_N][HM_INBOX_KEY_MAX];
	struct hm_str v[KEYS_N];
};

static void keys_of(const struct hm_inbox_ref *who, struct keys *k)
{
	static const char letters[KEYS_N] = "ziedmps";
	uint32_t slot = hm_person_slot(who->user);
	int n;

	hm_assert(who->user.len > 0 && who->user.len <= HM_INBOX_USER_MAX);
	for (int i = 0; i < KEYS_N - 1; i++) {
		n = snprintf(k->text[i], sizeof(k->text[i]), "{%.*s:u%u}:ib:%c:%.*s", HM_STRF(who->prefix),
			     slot, letters[i], HM_STRF(who->user));
		hm_assert(n > 0 && (size_t)n < sizeof(k->text[i]));
		k->v[i] = hm_str_n(k->text[i], (size_t)n);
	}
	k->v[KEYS_N - 1] = hm_str_n(
		k->text[KEYS_N - 1],
		hm_inbox_live_key(who->prefix, slot, k->text[KEYS_N - 1], sizeof(k->text[KEYS_N - 1])));
}

size_t hm_inbox_live_key(struct hm_str prefix, uint32_t slot, char *out, size_t cap)
{
	return hm_person_key(prefix, slot, "ib:live", out, cap);
}

/* -- one call ---------------------------------------------------------------------------------------- */

struct args {
	struct hm_str *v;
	size_t n, cap;
	char number[8][24];
	size_t numbers;
};

static void arg(struct args *a, struct hm_str s)
{
	hm_assert(a->n < a->cap);
	a->v[a->n++] = s;
}

static void arg_u64(struct args *a, uint64_t x)
{
	char *p = a->number[a->numbers];

	hm_assert(a->numbers < hm_countof(a->number));
	a->numbers++;
	arg(a, hm_str_n(p, (size_t)snprintf(p, sizeof(a->number[0]), "%llu", (unsigned long long)x)));
}

static struct hm_inbox_ask *ask(struct hm_inbox_ask *a, void (*fn)(void), void *arg_)
{
	a->fn = fn;
	a->arg = arg_;
	HM_MAGIC_SET(a, ASK_MAGIC);
	return a;
}

/* The call is over: its memory may go with the callback. */
static void *answered(struct hm_inbox_ask *a)
{
	HM_CHECK(a, ASK_MAGIC);
	HM_MAGIC_CLEAR(a);
	return a->arg;
}

static void start(const struct hm_inbox_ref *who, struct args *a, struct hm_str *v, size_t cap)
{
	*a = (struct args){.v = v, .cap = cap};
	arg_u64(a, who->now_ms);
	arg(a, who->user);
	arg_u64(a, who->keep_ms);
}

static void go(const struct hm_inbox_ref *who, struct hm_redis_script *s, const struct args *a,
	       hm_reply_fn fn, struct hm_inbox_ask *x)
{
	struct keys k;

	keys_of(who, &k);
	hm_redis_eval(who->redis, s, k.v, KEYS_N, a->v, a->n, fn, x);
}

/* -- records ----------------------------------------------------------------------------------------- */

static uint64_t u48(const char *p)
{
	uint64_t v = 0;

	for (int i = 5; i >= 0; i--)
		v = v << 8 | (uint8_t)p[i];
	return v;
}

bool hm_inbox_record(struct hm_str r, struct hm_inbox_item *x)
{
	size_t cat, coll;

	if (r.len < HEAD)
		return false;
	cat = (uint8_t)r.p[18];
	coll = (size_t)((uint8_t)r.p[19] | (uint8_t)r.p[20] << 8);
	if (r.len < HEAD + cat + coll + 2)
		return false;
	x->created_ms = u48(r.p);
	x->expires_ms = u48(r.p + 6);
	x->read_ms = u48(r.p + 12);
	x->category = hm_str_n(r.p + HEAD, cat);
	x->json = hm_str_n(r.p + HEAD + cat + coll, r.len - HEAD - cat - coll);
	return x->json.p[0] == '{' && x->json.p[x->json.len - 1] == '}';
}

static void put_time(struct hm_buf *b, const char *name, uint64_t ms)
{
	char text[25];

	hm_clock_rfc3339(ms, text);
	hm_buf_printf(b, ",\"%s\":\"%s\"", name, text);
}

void hm_inbox_item_json(const struct hm_inbox_item *x, struct hm_buf *b)
{
	struct hm_str inner = x->json.len > 2 ? hm_str_n(x->json.p + 1, x->json.len - 1) : HM_STR("}");

	hm_buf_lit(b, "{\"id\":\"");
	hm_buf_json(b, x->id);
	hm_buf_printf(b, "\",\"state\":\"%s\"", hm_inbox_state_name(x->state));
	put_time(b, "created", x->created_ms);
	put_time(b, "expires", x->expires_ms);
	if (x->read_ms)
		put_time(b, "read", x->read_ms);
	if (x->category.len) {
		hm_buf_lit(b, ",\"category\":\"");
		hm_buf_json(b, x->category);
		hm_buf_putc(b, '"');
	}
	if (inner.len > 1)
		hm_buf_putc(b, ',');
	hm_buf_puts(b, inner);
}

void hm_inbox_counts_json(const struct hm_inbox_counts *c, struct hm_buf *b)
{
	hm_buf_printf(b, "{\"unread\":%llu,\"read\":%llu,\"archived\":%llu,\"total\":%llu}",
		      (unsigned long long)c->n[0], (unsigned long long)c->n[1], (unsigned long long)c->n[2],
		      (unsigned long long)(c->n[0] + c->n[1] + c->n[2]));
}

/* -- answers ----------------------------------------------------------------------------------------- */

/* What the server said is no answer of a script. */
static const struct hm_err *strange(struct hm_err *e)
{
	hm_err_set(e, HM_EREDIS, "Redis gave an answer that is none of the inbox");
	return e;
}

static uint64_t number(const struct hm_reply *r)
{
	return r != NULL && r->type == HM_REPLY_INT && r->i > 0 ? (uint64_t)r->i : 0;
}

static bool read_counts(const struct hm_reply *r, struct hm_inbox_counts *c)
{
	if (r == NULL || r->type != HM_REPLY_ARRAY || r->n != HM_INBOX_STATES + 2)
		return false;
	for (int i = 0; i < HM_INBOX_STATES; i++)
		c->n[i] = number(&r->v[i]);
	c->arrivals = number(&r->v[HM_INBOX_STATES]);
	c->version = number(&r->v[HM_INBOX_STATES + 1]);
	return true;
}

static size_t read_texts(const struct hm_reply *r, struct hm_str *v, size_t most)
{
	size_t n = r != NULL && r->type == HM_REPLY_ARRAY ? hm_min(r->n, most) : 0;

	for (size_t i = 0; i < n; i++)
		v[i] = r->v[i].s;
	return n;
}

/* Items of {id, score, record, ...}; one that does not read is left out. */
static size_t read_items(const struct hm_reply *r, struct hm_inbox_item *v, size_t most)
{
	size_t n = 0;
	uint64_t score;

	for (size_t i = 0; r != NULL && r->type == HM_REPLY_ARRAY && i + 2 < r->n && n < most; i += 3) {
		struct hm_inbox_item *x = &v[n];

		if (!hm_str_u64(r->v[i + 1].s, &score) || score / B >= HM_INBOX_STATES ||
		    !hm_inbox_record(r->v[i + 2].s, x))
			continue;
		x->id = r->v[i].s;
		x->state = (uint8_t)(score / B);
		x->arrival = score % B;
		n++;
	}
	return n;
}

/* -- storing ----------------------------------------------------------------------------------------- */

static void on_added(void *arg_, const struct hm_reply *r, const struct hm_err *err)
{
	struct hm_inbox_ask *a = arg_;
	hm_inbox_added_fn fn = (hm_inbox_added_fn)a->fn;
	struct hm_err e = {0};

	if (err == NULL && (r->type != HM_REPLY_INT || r->i < 0 || r->i > HM_INBOX_EXPIRED))
		err = strange(&e);
	fn(answered(a), err ? HM_INBOX_AGAIN : (enum hm_inbox_added)r->i, err);
}

void hm_inbox_add(const struct hm_inbox_ref *who, const struct hm_inbox_add *x, struct hm_inbox_ask *q,
		  hm_inbox_added_fn fn, void *arg_)
{
	struct hm_str v[9];
	struct args a;

	hm_assert(x->category.len <= HM_INBOX_CATEGORY_MAX && x->collapse.len <= HM_INBOX_COLLAPSE_MAX);
	start(who, &a, v, hm_countof(v));
	arg(&a, x->id);
	arg(&a, x->category);
	arg(&a, x->collapse);
	arg_u64(&a, x->expires_ms);
	arg_u64(&a, x->max_items);
	arg(&a, x->json);
	go(who, &inbox_add_script, &a, on_added, ask(q, (void (*)(void))fn, arg_));
}

/* -- reading ----------------------------------------------------------------------------------------- */

static void on_page(void *arg_, const struct hm_reply *r, const struct hm_err *err)
{
	struct hm_inbox_ask *a = arg_;
	hm_inbox_page_fn fn = (hm_inbox_page_fn)a->fn;
	struct hm_inbox_item items[HM_INBOX_PAGE_MAX];
	struct hm_str unreported[HM_INBOX_IDS_MAX];
	struct hm_inbox_page p = {.v = items, .unreported = unreported};
	struct hm_err e = {0};

	if (err == NULL && r->type == HM_REPLY_INT) {
		p.refused = true;
	} else if (err == NULL && !read_counts(hm_reply_at(r, 0), &p.counts)) {
		err = strange(&e);
	} else if (err == NULL) {
		p.next = number(hm_reply_at(r, 1));
		p.n_unreported = read_texts(hm_reply_at(r, 2), unreported, hm_countof(unreported));
		p.n = read_items(hm_reply_at(r, 3), items, hm_countof(items));
	}
	fn(answered(a), err ? NULL : &p, err);
}

static struct hm_str digits(uint8_t states, char out[HM_INBOX_STATES])
{
	size_t n = 0;

	for (unsigned i = 0; i < HM_INBOX_STATES; i++)
		if (states >> i & 1)
			out[n++] = (char)('0' + i);
	return hm_str_n(out, n);
}

void hm_inbox_list(const struct hm_inbox_ref *who, const struct hm_inbox_filter *f, struct hm_inbox_ask *q,
		   hm_inbox_page_fn fn, void *arg_)
{
	char states[HM_INBOX_STATES];
	struct hm_str v[8];
	struct args a;

	hm_assert(f->limit <= HM_INBOX_PAGE_MAX);
	start(who, &a, v, hm_countof(v));
	arg(&a, digits(f->states, states));
	arg_u64(&a, f->before);
	arg_u64(&a, f->limit);
	arg(&a, f->category.p ? HM_STR("1") : HM_STR("0"));
	arg(&a, f->category.p ? f->category : HM_STR(""));
	go(who, &inbox_list_script, &a, on_page, ask(q, (void (*)(void))fn, arg_));
}

void hm_inbox_get(const struct hm_inbox_ref *who, struct hm_str id, struct hm_inbox_ask *q,
		  hm_inbox_page_fn fn, void *arg_)
{
	struct hm_str v[4];
	struct args a;

	start(who, &a, v, hm_countof(v));
	arg(&a, id);
	go(who, &inbox_get_script, &a, on_page, ask(q, (void (*)(void))fn, arg_));
}

void hm_inbox_since(const struct hm_inbox_ref *who, const struct hm_inbox_since *x, struct hm_inbox_ask *q,
		    hm_inbox_page_fn fn, void *arg_)
{
	struct hm_str v[8];
	struct args a;

	hm_assert(x->limit <= HM_INBOX_PAGE_MAX);
	start(who, &a, v, hm_countof(v));
	arg_u64(&a, hm_min(x->after, B - 2));
	arg_u64(&a, x->limit);
	arg(&a, x->listener);
	arg_u64(&a, x->lease_ms);
	arg_u64(&a, x->max_listeners);
	go(who, &inbox_since_script, &a, on_page, ask(q, (void (*)(void))fn, arg_));
}

static void ignore(void *arg_, const struct hm_reply *r, const struct hm_err *err)
{
}

void hm_inbox_leave(const struct hm_inbox_ref *who, struct hm_str listener)
{
	struct hm_str argv[3] = {HM_STR("ZREM"), HM_STR_NULL, listener};
	struct keys k;

	keys_of(who, &k);
	argv[1] = k.v[6];
	hm_redis_send(who->redis, k.v[6], argv, 3, ignore, NULL); /* else its lease ends */
}

/* -- changing ---------------------------------------------------------------------------------------- */

static void on_marked(void *arg_, const struct hm_reply *r, const struct hm_err *err)
{
	struct hm_inbox_ask *a = arg_;
	hm_inbox_marked_fn fn = (hm_inbox_marked_fn)a->fn;
	struct hm_str unreported[HM_INBOX_IDS_MAX];
	struct hm_inbox_marked m = {.unreported = unreported};
	struct hm_err e = {0};

	if (err == NULL && r->type == HM_REPLY_INT) {
		m.no_until = true;
	} else if (err == NULL && !read_counts(hm_reply_at(r, 0), &m.counts)) {
		err = strange(&e);
	} else if (err == NULL) {
		m.changed = (size_t)number(hm_reply_at(r, 1));
		m.missing = (size_t)number(hm_reply_at(r, 2));
		m.n_unreported = read_texts(hm_reply_at(r, 3), unreported, hm_countof(unreported));
	}
	fn(answered(a), err ? NULL : &m, err);
}

void hm_inbox_mark(const struct hm_inbox_ref *who, const struct hm_inbox_mark *x, struct hm_inbox_ask *q,
		   hm_inbox_marked_fn fn, void *arg_)
{
	char states[HM_INBOX_STATES];
	struct hm_str v[8 + HM_INBOX_IDS_MAX];
	struct args a;

	hm_assert(x->n <= HM_INBOX_IDS_MAX && x->action < HM_INBOX_ACTIONS);
	start(who, &a, v, hm_countof(v));
	arg(&a, hm_str_c(hm_inbox_action_name(x->action)));
	arg(&a, digits(x->states, states));
	arg(&a, x->category.p ? HM_STR("1") : HM_STR("0"));
	arg(&a, x->category.p ? x->category : HM_STR(""));
	arg(&a, x->until.p ? x->until : HM_STR(""));
	for (size_t i = 0; i < x->n; i++)
		arg(&a, x->ids[i]);
	go(who, &inbox_mark_script, &a, on_marked, ask(q, (void (*)(void))fn, arg_));
}

void hm_inbox_reported(const struct hm_inbox_ref *who, const struct hm_str *ids, size_t n)
{
	struct hm_str argv[2 + HM_INBOX_IDS_MAX] = {HM_STR("SREM")};
	struct keys k;

	if (n == 0)
		return;
	hm_assert(n <= HM_INBOX_IDS_MAX);
	keys_of(who, &k);
	argv[1] = k.v[5];
	memcpy(argv + 2, ids, n * sizeof(*ids));
	hm_redis_send(who->redis, k.v[5], argv, n + 2, ignore, NULL); /* else they are reported again */
}

static void on_erased(void *arg_, const struct hm_reply *r, const struct hm_err *err)
{
	struct hm_inbox_ask *a = arg_;
	hm_inbox_done_fn fn = (hm_inbox_done_fn)a->fn;

	fn(answered(a), err);
}

void hm_inbox_erase(const struct hm_inbox_ref *who, struct hm_inbox_ask *q, hm_inbox_done_fn fn, void *arg_)
{
	struct hm_str v[3];
	struct args a;

	start(who, &a, v, hm_countof(v));
	go(who, &inbox_erase_script, &a, on_erased, ask(q, (void (*)(void))fn, arg_));
}

/* -- live -------------------------------------------------------------------------------------------- */

static struct hm_str field(const struct hm_reply *fields, const char *name)
{
	for (size_t i = 0; i + 1 < fields->n; i += 2)
		if (hm_str_is(fields->v[i].s, name))
			return fields->v[i + 1].s;
	return HM_STR_NULL;
}

static bool split_counts(struct hm_str s, struct hm_inbox_counts *c)
{
	uint64_t *v[] = {&c->n[0], &c->n[1], &c->n[2], &c->arrivals, &c->version};
	struct hm_str part;

	for (size_t i = 0; i < hm_countof(v); i++)
		if (!hm_str_split(&s, ' ', &part) || !hm_str_u64(part, v[i]))
			return false;
	return s.len == 0;
}

bool hm_inbox_read_news(const struct hm_reply *f, struct hm_inbox_news *x)
{
	struct hm_str kind, record;

	*x = (struct hm_inbox_news){.user = HM_STR_NULL};
	if (f == NULL || f->type != HM_REPLY_ARRAY)
		return false;
	kind = field(f, "k");
	record = field(f, "r");
	x->user = field(f, "u");
	x->ids = field(f, "i");
	x->reload = hm_str_is(kind, "reload");
	x->arrival = hm_str_is(kind, "item");
	x->action = kind;
	if (x->user.len == 0 || !split_counts(field(f, "c"), &x->counts) ||
	    !hm_str_u64(field(f, "b"), &x->before))
		return false;
	if (!x->arrival)
		return true;
	if (record.len <= HM_ULID_TEXT ||
	    !hm_inbox_record(hm_str_n(record.p + HM_ULID_TEXT, record.len - HM_ULID_TEXT), &x->item))
		return false;
	x->item.id = hm_str_n(record.p, HM_ULID_TEXT);
	x->item.arrival = x->counts.arrivals;
	return true;
}
