/*
 * suppress.c - suppression and consent lists: fields, values, changes
 *
 * A change is one script per slot: removal marks, ends and the lists themselves move together. See suppress.h.
 */
#include "gates/suppress.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/obj.h"
#include "gates/lists.h"

#define CALL_MAGIC  0x73757063u
#define CHUNK	    500 /* entries per script: Redis serves others after a millisecond or two */
#define SEP	    '\x1f'
#define MEMBERS_MAX 64u
#define VALUE_MAX   (16u << 10)
#define TEXTS_MAX   (64u << 20)

static const char kinds[] = {'a', 'u', 'c', 'C'};
static const struct {
	const char *text, *sentence;
} reasons[] = {
#define HM_SUPPRESS_REASON(name, text, sentence) {text, sentence},
#include "tbl/suppress_reasons.h"
#undef HM_SUPPRESS_REASON
};

const char *hm_suppress_reason_name(enum hm_suppress_reason r)
{
	return (unsigned)r < HM_SUPPRESS_REASONS ? reasons[r].text : "?";
}

const char *hm_suppress_reason_sentence(enum hm_suppress_reason r)
{
	return (unsigned)r < HM_SUPPRESS_REASONS ? reasons[r].sentence : "?";
}

int hm_suppress_reason_find(struct hm_str s)
{
	for (int i = 0; i < HM_SUPPRESS_REASONS; i++)
		if (hm_str_is(s, reasons[i].text))
			return i;
	return -1;
}

/* -- keys and fields ------------------------------------------------------------------------------ */

size_t hm_person_key(struct hm_str prefix, uint32_t k, const char *what, char *out, size_t cap)
{
	int n = snprintf(out, cap, "{%.*s:u%u}:%s", HM_STRF(prefix), k, what);

	hm_assert(n > 0 && (size_t)n < cap);
	return (size_t)n;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool has_upper(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.p[i] >= 'A' && s.p[i] <= 'Z')
			return true;
	return false;
}

/* Of a text with an @, the slot is that of its lower case: of two spellings of one mailbox nobody knows the other. */
uint32_t hm_person_slot(struct hm_str subject)
{
	char few[256];

	if (subject.len <= sizeof(few) && hm_str_chr(subject, '@') >= 0 && has_upper(subject)) {
		for (size_t i = 0; i < subject.len; i++)
			few[i] = lower(subject.p[i]);
		subject.p = few;
	}
	return (uint32_t)(hm_hash64(subject.p, subject.len, 0) % HM_SUPPRESS_SLOTS);
}

void hm_suppress_field(const struct hm_suppress_entry *x, struct hm_buf *out)
{
	/* RFC 5321 limits an address to 254 bytes: longer ones are no mailboxes, and hm_person_slot leaves them alone, too */
	bool fold = (x->kind == HM_SUPPRESS_ADDRESS || x->kind == HM_CONSENT_ADDRESS) &&
		    x->subject.len <= 256 && hm_str_chr(x->subject, '@') >= 0;

	hm_buf_putc(out, kinds[x->kind]);
	hm_buf_putc(out, SEP);
	if (x->medium < 0)
		hm_buf_putc(out, '*');
	else
		hm_buf_puts(out, hm_str_c(hm_medium_name((enum hm_medium)x->medium)));
	hm_buf_putc(out, SEP);
	if (x->category.len == 0)
		hm_buf_putc(out, '*');
	else
		hm_buf_puts(out, x->category);
	hm_buf_putc(out, SEP);
	if (!fold) {
		hm_buf_puts(out, x->subject);
		return;
	}
	for (size_t i = 0; i < x->subject.len; i++)
		hm_buf_putc(out, lower(x->subject.p[i]));
}

static void put_text(struct hm_buf *b, const char *key, struct hm_str s, size_t max)
{
	if (s.len == 0)
		return;
	if (b->len && b->p[b->len - 1] != '{')
		hm_buf_putc(b, ',');
	hm_buf_putc(b, '"');
	hm_buf_puts(b, hm_str_c(key));
	hm_buf_lit(b, "\":\"");
	hm_buf_json(b, hm_str_n(s.p, hm_utf8_cut(s, max)));
	hm_buf_putc(b, '"');
}

static void put_number(struct hm_buf *b, const char *key, uint64_t v)
{
	if (v == 0)
		return;
	hm_buf_printf(b, "%s\"%s\":%llu", b->len && b->p[b->len - 1] != '{' ? "," : "", key,
		      (unsigned long long)v);
}

/* What makes it this entry comes first; "at" and "by" come last, where the script stops comparing. */
void hm_suppress_value(const struct hm_suppress_entry *x, struct hm_buf *out)
{
	hm_buf_putc(out, '{');
	put_text(out, "reason", x->reason, 32);
	put_text(out, "proof", x->proof, HM_SUPPRESS_PROOF_MAX);
	put_number(out, "until", x->until_ms);
	put_number(out, "since", x->since_ms);
	hm_buf_puts(out, out->len && out->p[out->len - 1] == '{' ? HM_STR("\"at\":") : HM_STR(",\"at\":"));
	hm_buf_u64(out, x->at_ms);
	put_text(out, "by", x->by, HM_SUPPRESS_BY_MAX);
	hm_buf_putc(out, '}');
}

static bool cut_field(struct hm_str field, struct hm_suppress_entry *x, struct hm_str *medium)
{
	struct hm_str kind, category;

	if (!hm_str_split(&field, SEP, &kind) || !hm_str_split(&field, SEP, medium) ||
	    !hm_str_split(&field, SEP, &category) || kind.len != 1 || field.len == 0)
		return false;
	for (size_t i = 0; i < sizeof(kinds); i++)
		if (kinds[i] == kind.p[0]) {
			x->kind = (enum hm_suppress_kind)i;
			x->category = hm_str_is(category, "*") ? HM_STR_NULL : category;
			x->subject = field;
			return true;
		}
	return false;
}

static void text_of(const msgpack_object *o, const char *key, struct hm_arena *a, struct hm_str *v)
{
	const msgpack_object *m = hm_mp_get(o, hm_str_c(key));
	struct hm_str s;

	if (m && hm_mp_str(m, &s) && s.len)
		*v = hm_arena_str(a, s);
}

static void number_of(const msgpack_object *o, const char *key, uint64_t *v)
{
	const msgpack_object *m = hm_mp_get(o, hm_str_c(key));

	if (m)
		(void)hm_mp_u64(m, v);
}

int hm_suppress_parse(struct hm_str field, struct hm_str value, struct hm_arena *a,
		      struct hm_suppress_entry *x_r, struct hm_err *e)
{
	struct hm_suppress_entry x = {.medium = -1};
	struct hm_str medium;
	msgpack_object o;
	msgpack_zone zone;
	struct hm_buf mp;
	int rc;

	if (!cut_field(field, &x, &medium) ||
	    (!hm_str_is(medium, "*") && (x.medium = hm_medium_find(medium)) < 0))
		return hm_err_set(e, HM_EPARSE, "an entry of the lists with a name that is none");
	hm_buf_init(&mp, VALUE_MAX);
	if (!msgpack_zone_init(&zone, 512)) {
		hm_buf_fini(&mp);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	rc = hm_json_to_msgpack(value, &mp, e);
	if (rc == 0)
		rc = hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, e);
	if (rc == 0 && o.type != MSGPACK_OBJECT_MAP)
		rc = hm_err_set(e, HM_EPARSE, "an entry of the lists that is no object");
	if (rc == 0) {
		text_of(&o, "reason", a, &x.reason);
		text_of(&o, "proof", a, &x.proof);
		text_of(&o, "by", a, &x.by);
		number_of(&o, "at", &x.at_ms);
		number_of(&o, "until", &x.until_ms);
		number_of(&o, "since", &x.since_ms);
		*x_r = x;
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	return rc;
}

static int bad(struct hm_err *e, const char *field, const char *text)
{
	hm_err_set(e, HM_EINVAL, "%s: %s", field, text);
	hm_err_field(e, field);
	return HM_EINVAL;
}

static bool has_control(struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return true;
	return false;
}

static int check_text(struct hm_str s, const char *field, size_t max, struct hm_err *e)
{
	char text[64];

	if (s.len > max) {
		(void)snprintf(text, sizeof(text), "has at most %zu bytes", max);
		return bad(e, field, text);
	}
	if (!hm_utf8_valid(s))
		return bad(e, field, "is not UTF-8");
	if (has_control(s))
		return bad(e, field, "must not have control characters");
	return 0;
}

int hm_suppress_check(const struct hm_suppress_entry *x, struct hm_err *e)
{
	bool consent = x->kind == HM_CONSENT_ADDRESS || x->kind == HM_CONSENT_USER;
	const char *subject = x->kind == HM_SUPPRESS_ADDRESS || x->kind == HM_CONSENT_ADDRESS ? "address"
											      : "user";

	if (x->subject.len == 0)
		return bad(e, subject, "must not be empty");
	if (check_text(x->subject, subject, HM_SUPPRESS_SUBJECT_MAX, e) ||
	    check_text(x->category, "category", HM_SUPPRESS_CATEGORY_MAX, e) ||
	    check_text(x->by, "by", HM_SUPPRESS_BY_MAX, e) ||
	    check_text(x->proof, "proof", HM_SUPPRESS_PROOF_MAX, e))
		return HM_EINVAL;
	if (consent && x->reason.len)
		return bad(e, "reason", "a consent has none; say how it was given in proof");
	if (!consent && hm_suppress_reason_find(x->reason) < 0)
		return bad(e, "reason",
			   "must be unsubscribe, hard_bounce, complaint, invalid_token or manual");
	if (x->until_ms && x->until_ms <= x->at_ms)
		return bad(e, "until", "must come after the entry's own time");
	return 0;
}

/* -- changes ---------------------------------------------------------------------------------------- */

/* KEYS: supp, supp:gone, supp:until, supp:suspect. Ends that are due are cleared a hundred at a time with any change. */
#define SCRIPT_BEGIN                                                                               \
	"local supp, gone, ends, now = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1])\n"             \
	"redis.call('ZREMRANGEBYSCORE', gone, '-inf', now - 604800000)\n"                          \
	"for _, f in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, 100)) do\n" \
	"  redis.call('HDEL', supp, f)\n"                                                          \
	"  redis.call('ZREM', ends, f)\n"                                                          \
	"end\n"                                                                                    \
	"local changed = 0\n"

/* ARGV: now, 1 to leave what is there, then (field, value, since, until) for each. */
static struct hm_redis_script add_script = {
	.name = "suppress-add",
	.source = SCRIPT_BEGIN
	"local leave = ARGV[2] == '1'\n"
	"for i = 3, #ARGV, 4 do\n"
	"  local f, v, since, till = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]\n"
	"  local old = redis.call('HGET', supp, f)\n"
	"  local add = true\n"
	"  if since ~= '0' then\n"
	"    local mark = redis.call('ZSCORE', gone, f)\n"
	"    add = not mark or tonumber(mark) <= tonumber(since)\n"
	"  end\n"
	"  if add and old then\n"
	"    local e = redis.call('ZSCORE', ends, f)\n"
	"    if not (e and tonumber(e) <= now) then\n"
	/* quotes inside a JSON text are escaped, so this finds the member and nothing else */
	"      local o, n = string.find(old, '\"at\":', 1, true), string.find(v, '\"at\":', 1, true)\n"
	"      add = not leave and string.sub(old, 1, (o or 1) - 1) ~= string.sub(v, 1, n - 1)\n"
	"    end\n"
	"  end\n"
	"  if add then\n"
	"    redis.call('HSET', supp, f, v)\n"
	"    if till ~= '0' then redis.call('ZADD', ends, till, f) elseif old then redis.call('ZREM', ends, "
	"f) end\n"
	"    changed = changed + 1\n"
	"  end\n"
	"end\n"
	"return changed\n",
};

/* ARGV: now, how long ago it must have been said first, how long that is remembered, then as above. */
static struct hm_redis_script suspect_script = {
	.name = "suppress-suspect",
	.source = SCRIPT_BEGIN
	"local said, after = KEYS[4], tonumber(ARGV[2])\n"
	"redis.call('ZREMRANGEBYSCORE', said, '-inf', now - tonumber(ARGV[3]))\n"
	"for i = 4, #ARGV, 4 do\n"
	"  local f, v, till = ARGV[i], ARGV[i + 1], ARGV[i + 3]\n"
	"  local first = redis.call('ZSCORE', said, f)\n"
	"  local mark = redis.call('ZSCORE', gone, f)\n"
	"  if first and mark and tonumber(mark) >= tonumber(first) then first = false end\n"
	"  if not first then\n"
	"    redis.call('ZADD', said, now, f)\n"
	"  elseif now - tonumber(first) >= after then\n"
	"    redis.call('ZREM', said, f)\n"
	"    changed = changed + redis.call('HSETNX', supp, f, v)\n"
	"  end\n"
	"end\n"
	"return changed\n",
};

/* ARGV: now, then the fields. */
static struct hm_redis_script remove_script = {
	.name = "suppress-remove",
	.source = SCRIPT_BEGIN
	"for i = 2, #ARGV do\n"
	"  local f = ARGV[i]\n"
	"  changed = changed + redis.call('HDEL', supp, f)\n"
	"  redis.call('ZREM', ends, f)\n"
	"  if string.sub(f, 1, 1) == 'a' then redis.call('ZADD', gone, ARGV[1], f) end\n"
	"end\n"
	"return changed\n",
};

struct call {
	uint32_t magic;
	uint32_t open; /* scripts, and the sender while it sends */
	size_t changed;
	struct hm_err err;
	hm_suppress_fn fn;
	void *arg;
};

static void on_script(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct call *c = arg;

	HM_CHECK(c, CALL_MAGIC);
	if (err)
		c->err = *err;
	else if (reply->type == HM_REPLY_INT && reply->i > 0)
		c->changed += (size_t)reply->i;
	hm_assert(c->open > 0);
	if (--c->open > 0)
		return;
	c->fn(c->arg, c->changed, c->err.code ? &c->err : NULL);
	HM_MAGIC_CLEAR(c);
	free(c);
}

/* Without it others may not look at the lists: then nothing was added, and it is to be repeated. */
static void on_announced(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	static const struct hm_reply nothing = {.type = HM_REPLY_NIL};

	on_script(arg, err ? reply : &nothing, err);
}

enum op { OP_ADD, OP_ADD_NEW, OP_SUSPECT, OP_REMOVE };
static struct hm_redis_script *const scripts[] = {&add_script, &add_script, &suspect_script, &remove_script};
#define PER_ENTRY 4
#define FIRST	  3 /* arguments before the entries, at most */

struct batch { /* what one change is made of; memory for its time */
	struct hm_redis *r;
	struct hm_str prefix;
	struct call *call;
	enum op op;
	struct hm_buf text;
	struct hm_str args[FIRST + PER_ENTRY * CHUNK];
	size_t off[FIRST + PER_ENTRY * CHUNK]; /* of each argument in text, while that may still move */
	size_t n;
	char now[24];
};

static void arg_end(struct batch *b, size_t begin)
{
	b->off[b->n] = begin;
	b->args[b->n++].len = b->text.len - begin;
}

static void put_entry(struct batch *b, const struct hm_suppress_entry *x)
{
	size_t begin = b->text.len;

	hm_suppress_field(x, &b->text);
	arg_end(b, begin);
	if (b->op == OP_REMOVE)
		return;
	begin = b->text.len;
	hm_suppress_value(x, &b->text);
	arg_end(b, begin);
	begin = b->text.len;
	hm_buf_u64(&b->text, x->since_ms);
	arg_end(b, begin);
	begin = b->text.len;
	hm_buf_u64(&b->text, x->until_ms);
	arg_end(b, begin);
}

static void begin_chunk(struct batch *b)
{
	hm_buf_reset(&b->text);
	b->n = 0;
	hm_buf_puts(&b->text, hm_str_c(b->now));
	arg_end(b, 0);
	if (b->op == OP_REMOVE)
		return;
	if (b->op == OP_SUSPECT) {
		size_t begin = b->text.len;

		hm_buf_u64(&b->text, HM_SUSPECT_AFTER_MS);
		arg_end(b, begin);
		begin = b->text.len;
		hm_buf_u64(&b->text, HM_SUSPECT_KEEP_MS);
		arg_end(b, begin);
		return;
	}
	hm_buf_putc(&b->text, b->op == OP_ADD_NEW ? '1' : '0');
	arg_end(b, b->text.len - 1);
}

static void send_chunk(struct batch *b, uint32_t slot)
{
	static const char *const what[] = {"supp", "supp:gone", "supp:until", "supp:suspect"};
	char keys[hm_countof(what)][HM_SUPPRESS_KEY_MAX];
	struct hm_str k[hm_countof(what)];

	if (b->text.err) { /* the others are sent; the whole counts as not done and may be repeated */
		hm_err_set(&b->call->err, HM_ENOMEM, "out of memory");
		return;
	}
	for (size_t i = 0; i < b->n; i++)
		b->args[i].p = b->text.p + b->off[i];
	for (size_t i = 0; i < hm_countof(what); i++)
		k[i] = hm_str_n(keys[i], hm_person_key(b->prefix, slot, what[i], keys[i], sizeof(keys[i])));
	b->call->open++;
	hm_redis_eval(b->r, scripts[b->op], k, hm_countof(what), b->args, b->n, on_script, b->call);
}

static void change(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms, enum op op,
		   const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg)
{
	struct call *c = calloc(1, sizeof(*c));
	struct batch *b = malloc(sizeof(*b));
	uint32_t *next = malloc((n + HM_SUPPRESS_SLOTS) * sizeof(*next)), *head = next + n;

	hm_assert(n > 0 && n < UINT32_MAX);
	if (!c || !b || !next)
		hm_panic(__FILE__, __LINE__, __func__, "no memory for a change of the lists");
	HM_MAGIC_SET(c, CALL_MAGIC);
	c->fn = fn;
	c->arg = arg;
	b->r = r;
	b->prefix = prefix;
	b->call = c;
	b->op = op;
	(void)snprintf(b->now, sizeof(b->now), "%llu", (unsigned long long)now_ms);
	hm_buf_init(&b->text, TEXTS_MAX);
	if (op != OP_REMOVE) { /* with every change: whatever became of the key since the last one */
		c->open++;
		hm_lists_announce(r, prefix, on_announced, c);
	}
	/* by slot, in the order given: the last of two for one field wins */
	for (size_t k = 0; k < HM_SUPPRESS_SLOTS; k++)
		head[k] = UINT32_MAX;
	for (size_t i = n; i-- > 0;) {
		uint32_t k = hm_person_slot(v[i].subject);

		next[i] = head[k];
		head[k] = (uint32_t)i;
	}
	for (uint32_t k = 0; k < HM_SUPPRESS_SLOTS; k++) {
		uint32_t in_chunk = 0;

		for (uint32_t i = head[k]; i != UINT32_MAX; i = next[i]) {
			if (in_chunk == 0)
				begin_chunk(b);
			put_entry(b, &v[i]);
			if (++in_chunk == CHUNK || next[i] == UINT32_MAX) {
				send_chunk(b, k);
				in_chunk = 0;
			}
		}
	}
	if (c->open ==
	    0) { /* nothing was sent: the answer to this brings the bad news, not earlier than the caller expects it */
		c->open++;
		hm_lists_announce(r, prefix, on_announced, c);
	}
	hm_buf_fini(&b->text);
	free(b);
	free(next);
}

void hm_suppress_add(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
		     const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg)
{
	change(r, prefix, now_ms, OP_ADD, v, n, fn, arg);
}

void hm_suppress_add_new(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			 const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg)
{
	change(r, prefix, now_ms, OP_ADD_NEW, v, n, fn, arg);
}

void hm_suppress_remove(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg)
{
	change(r, prefix, now_ms, OP_REMOVE, v, n, fn, arg);
}

void hm_suppress_suspect(struct hm_redis *r, struct hm_str prefix, uint64_t now_ms,
			 const struct hm_suppress_entry *v, size_t n, hm_suppress_fn fn, void *arg)
{
	change(r, prefix, now_ms, OP_SUSPECT, v, n, fn, arg);
}
