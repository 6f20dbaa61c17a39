/*
 * strip.c - the instructions most messages consist of, with everything in registers
 *
 * Text, values of the data, conditions on them and lists of them: what needs neither the value stack nor a
 * conversion. hm_strip() goes on for as long as that is all there is and returns the first instruction that needs
 * more: run() in vm.c, which knows every instruction, does it from its start. So whatever is unusual (a missing value,
 * another type, a full buffer, too many steps) is left alone here, and no error is made here.
 * Numbers are printed as number_format "computer" does: run() does not ask for this way under another one.
 *
 * A value that is only tested is not put on the stack: the instruction that fetches it and the one that wants it
 * are done together.
 */
#include "base/json.h"
#include "tmpl/put.h"
#include "tmpl/vm.h"

enum found { FOUND, MISSING, OTHER };

/* Follows a path through maps of the data. OTHER: its beginning is no such map, or something on the way. */
static inline __attribute__((always_inline)) enum found
follow(const struct hm_strip *st, const struct hm_path *p, const msgpack_object **r)
{
	const struct hm_str *key = p->key, *end = key + p->nkeys;
	const msgpack_object *o;

	if (p->local) {
		if (hm_unlikely(st->slot[p->root].kind != V_MPMAP))
			return OTHER;
		o = st->slot[p->root].u.mp;
	} else {
		o = st->value[p->root];
		if (hm_unlikely(!o))
			return OTHER;
	}
	for (; key < end; key++) {
		if (o->type != MSGPACK_OBJECT_MAP)
			return o->type == MSGPACK_OBJECT_NIL && p->soft ? MISSING : OTHER;
		o = hm_mp_find(o, *key);
		if (!o)
			return p->soft || key + 1 == end ? MISSING : OTHER;
	}
	*r = o;
	return o->type == MSGPACK_OBJECT_NIL ? MISSING : FOUND;
}

static inline bool holds(int64_t a, int64_t b, enum hm_cmp op)
{
	switch (op) {
	case CMP_EQ: return a == b;
	case CMP_NE: return a != b;
	case CMP_LT: return a < b;
	case CMP_LE: return a <= b;
	case CMP_GT: return a > b;
	default: return a >= b;
	}
}

#define ROOM 64 /* at least, beyond what is said to be copied */

/* Writes v, at most 20 digits; returns its end. */
static __attribute__((noinline)) char *digits(char *at, uint64_t v)
{
	char text[20], *end = text + sizeof(text), *p = hm_digits_before(end, v);

	hm_copy(at, p, (size_t)(end - p));
	return at + (end - p);
}

static inline char *small_digits(char *at, uint64_t v)
{
	if (hm_unlikely(v >= 10))
		return digits(at, v);
	*at = (char)('0' + v);
	return at + 1;
}

static __attribute__((noinline)) size_t decimal_shown(const msgpack_object *o)
{
	return hm_decimal_shown(hm_str_n(o->via.ext.ptr, o->via.ext.size));
}

/* Puts the text at `at`, escaped; returns its end, with *end moved along, or NULL when that failed. */
static __attribute__((noinline)) char *escaped(struct hm_buf *out, char *at, unsigned fmt, struct hm_str s,
					       char **end)
{
	out->len = (size_t)(at - out->p);
	hm_escape_markup(out, fmt, s);
	*end = out->p + out->cap;
	return out->err ? NULL : out->p + out->len;
}

static inline bool is_name(const struct hm_tmpl *t, uint32_t k, const char *p, uint32_t n)
{
	return t->name[k].len == n && hm_same(p, t->name[k].p, n);
}

/*
 * The data is just what the text asks for, in the order in which it asks: each name once, none missing, so there is nothing
 * to search and no second key of a name to look for. Other roots have no say then.
 */
static inline bool in_order(struct hm_strip *st, const msgpack_object *root)
{
	const struct hm_tmpl *t = st->t;

	if (!root || root->type != MSGPACK_OBJECT_MAP || root->via.map.size != t->nnames)
		return false;
	for (uint32_t i = 0; i < t->nnames; i++) {
		const msgpack_object_kv *kv = &root->via.map.ptr[i];

		if (!hm_mp_key_is(kv, t->name[i]) || kv->val.type == MSGPACK_OBJECT_NIL)
			return false;
		st->value[i] = &kv->val;
	}
	return true;
}

/*
 * One pass over the data, whatever the text asks for: the first root that has a value for a name wins, and of two keys
 * with one name in it the last counts. Often the data stands in the order in which the text uses it: the next name is
 * tried before it is searched for.
 */
void hm_strip_begin(struct hm_strip *st, const msgpack_object *const *roots, size_t nroots)
{
	const struct hm_tmpl *t = st->t;
	uint32_t names = t->nnames;

	if (nroots > 0 && in_order(st, roots[0]))
		return;
	for (uint32_t i = 0; i < names; i += 2)
		st->value[i] = st->value[i + 1] = NULL;
	for (size_t r = 0; r < nroots; r++) {
		const msgpack_object *last;
		const msgpack_object_kv *kv;
		uint32_t left, next = names;

		if (!roots[r] || roots[r]->type != MSGPACK_OBJECT_MAP)
			continue;
		left = roots[r]->via.map.size;
		kv = roots[r]->via.map.ptr;
		if (left == 0)
			continue;
		last = &kv[left - 1].val;
		for (; left > 0; left--) {
			const msgpack_object_kv *e = &kv[left - 1];
			const char *p = e->key.via.str.ptr;
			uint32_t n = e->key.via.str.size, k = next;
			const msgpack_object *v;

			if (hm_unlikely(e->key.type != MSGPACK_OBJECT_STR || n == 0))
				continue;
			if (k-- == 0 || !is_name(t, k, p, n)) {
				k = t->name_first[hm_name_hash(p, n) & t->name_mask];
				while (k > 0 && !is_name(t, k - 1, p, n))
					k = t->name_next[k - 1];
				if (k-- == 0)
					continue;
			}
			next = k;
			v = st->value[k];
			if (hm_likely(!v) || (v->type == MSGPACK_OBJECT_NIL && !(v > &e->key && v <= last)))
				st->value[k] =
					&e->val; /* null, too: it says that no other key of this root counts */
		}
	}
}

/*
 * A line of text with names in it, as most text messages are, and data in the order of its names: both are read once, side
 * by side. Anything else, and nothing was written: the usual way does it. Returns where to go on.
 */
uint32_t hm_strip_line(struct hm_strip *st, const msgpack_object *root, uint32_t pc)
{
	const struct hm_tmpl *const t = st->t;
	const struct hm_insn *i = t->code + pc;
	const struct hm_str *name = t->name;
	const msgpack_object_kv *kv;
	char *at, *end;

	if (!root || root->type != MSGPACK_OBJECT_MAP || root->via.map.size != t->nnames || st->out->err ||
	    !st->out->p)
		return pc;
	at = st->out->p + st->out->len;
	end = st->out->p + st->out->cap;
	kv = root->via.map.ptr;
	for (; i->op == OP_EMITG; i++) {
		const msgpack_object_kv *e = kv + i->c;
		const struct hm_str *lit = &t->lit[i->b];
		const char *p = e->val.via.str.ptr;
		size_t n = e->val.via.str.size;

		if (name == t->name + i->c) { /* its first use */
			if (!hm_mp_key_is(e, *name))
				return pc;
			name++;
		}
		if (e->val.type != MSGPACK_OBJECT_STR || n >= 64 || (size_t)(end - at) < lit->len + 64 + ROOM)
			return pc;
		hm_copy_padded(at, lit->p, lit->len);
		at += lit->len;
		hm_copy(at, p, n);
		at += n;
	}
	if (i->op == OP_LIT) {
		const struct hm_str *lit = &t->lit[i->c];

		if ((size_t)(end - at) < lit->len + ROOM)
			return pc;
		hm_copy_padded(at, lit->p, lit->len);
		at += lit->len;
		i++;
	}
	st->out->len = (size_t)(at - st->out->p);
	return (uint32_t)(i - t->code);
}

/* Few variables live through the loop, so that they find room in registers: st, t, i, at, end. */
uint32_t hm_strip(struct hm_strip *st, uint32_t pc)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
	static const void *const where[256] = {
		[0 ... 255] = &&out,	     [OP_LIT] = &&do_lit,	    [OP_EMITG] = &&do_emitg,
		[OP_LOADG] = &&do_loadg,     [OP_EMITPATH] = &&do_emitpath, [OP_PATH] = &&do_path,
		[OP_LOOPVAR] = &&do_loopvar, [OP_JMP] = &&do_jmp,	    [OP_JNONE] = &&do_jnone,
		[OP_NEXT] = &&do_next,	     [OP_JLAST] = &&do_jlast,	    [OP_ENDITER] = &&do_enditer};
#pragma GCC diagnostic pop
	const struct hm_tmpl *const t = st->t;
	const struct hm_insn *i = t->code + pc;
	char *at, *end;

	if (st->out->err || !st->out->p)
		return pc;
	at = st->out->p + st->out->len;
	end = st->out->p + st->out->cap;
	for (;; i++) {
		const struct hm_str *lit;
		const msgpack_object *o = NULL;
		struct hm_loopstate *l;
		enum found found;
		struct hm_str s;

		goto *where[i->op];

	do_lit:
		lit = &t->lit[i->c];
		if (hm_unlikely((size_t)(end - at) < lit->len + ROOM))
			goto out;
		hm_copy_padded(at, lit->p, lit->len);
		at += lit->len;
		continue;
	do_emitg:
		o = st->value[i->c];
		goto value;
	do_loadg:
		o = st->value[i->c];
		found = o && o->type != MSGPACK_OBJECT_NIL ? FOUND : MISSING;
		goto test;
	do_emitpath:
	do_path:
		found = follow(st, &t->path[i->c], &o);
		if (i->op == OP_PATH)
			goto test;
		goto value;
	do_loopvar:
		l = &st->loop[t->loop[i->c].state];
		if (i[1].op != OP_EMIT || i->a > BI_ID_counter - BI_ID_index || l->index < 0 ||
		    end - at < ROOM)
			goto out;
		at = small_digits(at, (uint64_t)l->index + i->a);
		i++;
		continue;
	do_jmp:
		if (t->code + i->c <= i) {
			if (st->steps >= st->max_steps)
				goto out;
			st->steps++;
		}
		i = t->code + i->c - 1;
		continue;
	do_jnone:
		if (st->loop[t->loop[i->b].state].size == 0)
			i = t->code + i->c - 1;
		continue;
	do_next : {
		const struct hm_loop_info *info = &t->loop[i->b];

		l = &st->loop[info->state];
		if (l->src.kind != V_MPSEQ || info->has2 || st->steps >= st->max_steps)
			goto out;
		if (l->index + 1 >= l->size) {
			st->steps++;
			l->index++;
			l->active = false;
			i = t->code + i->c - 1;
			continue;
		}
		o = &l->src.u.mp->via.array.ptr[l->index + 1];
		if (o->type != MSGPACK_OBJECT_MAP && o->type != MSGPACK_OBJECT_STR)
			goto out;
		st->steps++;
		l->index++;
		l->active = true;
		st->slot[info->slot] = o->type == MSGPACK_OBJECT_MAP
					       ? (struct hm_val){.kind = V_MPMAP, .u.mp = o}
					       : hm_vstr(hm_str_n(o->via.str.ptr, o->via.str.size));
		continue;
	}
	do_jlast:
		l = &st->loop[t->loop[i->b].state];
		if (!l->active || l->index + 1 >= l->size)
			i = t->code + i->c - 1;
		continue;
	do_enditer:
		st->loop[t->loop[i->c].state].active = false;
		continue;

	value: /* a literal, then o */
		if (hm_unlikely(!o))
			goto out;
		lit = &t->lit[i->b];
		if (hm_likely(o->type == MSGPACK_OBJECT_STR)) {
			s = hm_str_n(o->via.str.ptr, o->via.str.size);
			if (hm_unlikely((size_t)(end - at) < lit->len + s.len + ROOM))
				goto out;
			hm_copy_padded(at, lit->p, lit->len);
			at += lit->len;
			if (hm_unlikely(s.len >= 64))
				st->steps += s.len >> 6;
			if (!(i->a & EMIT_ESC) ||
			    hm_likely((i->a & EMIT_FMT) != FMT_MARKDOWN && hm_markup_find(s) == s.len)) {
				hm_copy(at, s.p, s.len);
				at += s.len;
				continue;
			}
			at = escaped(st->out, at, i->a & EMIT_FMT, s, &end);
			if (hm_likely(at != NULL))
				continue;
			return (uint32_t)(i + 1 - t->code);
		}
		if ((size_t)(end - at) < lit->len + ROOM)
			goto out;
		if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX) {
			hm_copy_padded(at, lit->p, lit->len);
			at = small_digits(at + lit->len, o->via.u64);
			continue;
		}
		if (o->type == MSGPACK_OBJECT_EXT && o->via.ext.type == HM_MP_DECIMAL) {
			size_t n = decimal_shown(o);

			if (n == 0)
				goto out;
			hm_copy_padded(at, lit->p, lit->len);
			hm_copy(at + lit->len, o->via.ext.ptr, n);
			at += lit->len + n;
			continue;
		}
		goto out;

	test:
		if (found == OTHER)
			goto out;
		/* what becomes of a value that was found, or is missing */
		switch (i[1].op) {
		case OP_JNULL:
		case OP_JNNULL:
			i = (found == FOUND) == (i[1].op == OP_JNNULL) ? t->code + i[1].c - 1 : i + 1;
			continue;
		case OP_JF:
		case OP_JT:
			if (found != FOUND || o->type != MSGPACK_OBJECT_BOOLEAN)
				goto out;
			i = o->via.boolean == (i[1].op == OP_JT) ? t->code + i[1].c - 1 : i + 1;
			continue;
		case OP_INT:
			if (i[2].op != OP_JCMP || found != FOUND ||
			    o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > INT64_MAX)
				goto out;
			i = holds((int64_t)o->via.u64, (int32_t)i[1].c, i[2].a) == (i[2].b != 0)
				    ? t->code + i[2].c - 1
				    : i + 2;
			continue;
		case OP_ITER:
			if (i[1].a != 0 || found != FOUND || o->type != MSGPACK_OBJECT_ARRAY)
				goto out;
			st->loop[t->loop[i[1].c].state] = (struct hm_loopstate){
				.src = {.kind = V_MPSEQ, .u.mp = o},
				.index = -1,
				.size = (int64_t)o->via.array.size};
			i++;
			continue;
		default: goto out;
		}
	}
out:
	st->out->len = (size_t)(at - st->out->p);
	return (uint32_t)(i - t->code);
}
