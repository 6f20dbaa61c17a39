/* value.c - see value.h and vm.h: conversions, sequences, hashes, comparison, + */
#include "tmpl/value.h"

#include "base/json.h"
#include "tmpl/datetime.h"
#include "tmpl/numfmt.h"
#include "tmpl/put.h"
#include "tmpl/vm.h"

const char *hm_v_kind_name(struct hm_val v)
{
	switch ((enum hm_vkind)v.kind) {
	case V_NULL: return "missing";
	case V_BOOL: return "a boolean";
	case V_INT:
	case V_DEC: return "a number";
	case V_STR: return "a string";
	case V_EMPTY: return "an empty default";
	case V_MARKUP: return "markup";
	case V_DATE: return v.aux == DATE_DATE ? "a date" : v.aux == DATE_TIME ? "a time" : "a date and time";
	case V_SEQ:
	case V_MPSEQ: return "a sequence";
	case V_RANGE: return "a range";
	case V_HASH:
	case V_MPMAP:
	case V_SCOPE: return "a hash";
	case V_MACRO: return "a macro";
	case V_METHOD: return "a built-in without its parentheses";
	}
	return "?";
}

/* -- data ---------------------------------------------------------------------------- */

int hm_v_dec_new(struct hm_vm *vm, struct hm_dec d, struct hm_val *r)
{
	struct hm_dec *p;

	if (d.scale == 0 && d.coef <= INT64_MAX && d.coef >= INT64_MIN) {
		*r = hm_vint((int64_t)d.coef);
		return 0;
	}
	p = hm_vm_alloc(vm, sizeof(*p));
	if (!p)
		return vm->rc;
	*p = d;
	*r = (struct hm_val){.kind = V_DEC, .u.dec = p};
	return 0;
}

int hm_v_from_mp(struct hm_vm *vm, const msgpack_object *o, struct hm_val *r)
{
	struct hm_dec d;

	switch (o->type) {
	case MSGPACK_OBJECT_NIL: *r = HM_VNULL; return 0;
	case MSGPACK_OBJECT_BOOLEAN: *r = hm_vbool(o->via.boolean); return 0;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		if (o->via.u64 <= INT64_MAX) {
			*r = hm_vint((int64_t)o->via.u64);
			return 0;
		}
		return hm_v_dec_new(vm, (struct hm_dec){(__int128)o->via.u64, 0}, r);
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: *r = hm_vint(o->via.i64); return 0;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64:
		if (!hm_dec_double(o->via.f64, &d))
			return hm_vm_fail(vm, HM_EINVAL, "a number of the data is not finite, or too large");
		return hm_v_dec_new(vm, d, r);
	case MSGPACK_OBJECT_STR: *r = hm_vstr(hm_str_n(o->via.str.ptr, o->via.str.size)); return 0;
	case MSGPACK_OBJECT_BIN: *r = hm_vstr(hm_str_n(o->via.bin.ptr, o->via.bin.size)); return 0;
	case MSGPACK_OBJECT_ARRAY: *r = (struct hm_val){.kind = V_MPSEQ, .u.mp = o}; return 0;
	case MSGPACK_OBJECT_MAP: *r = (struct hm_val){.kind = V_MPMAP, .u.mp = o}; return 0;
	case MSGPACK_OBJECT_EXT:
		if (o->via.ext.type != HM_MP_DECIMAL)
			return hm_vm_fail(vm, HM_ETYPE,
					  "a value of the data is of a kind templates do not know");
		if (!hm_dec_parse(hm_str_n(o->via.ext.ptr, o->via.ext.size), &d))
			return hm_vm_fail(vm, HM_EINVAL,
					  "the number %.*s of the data is malformed or too large",
					  (int)hm_min(o->via.ext.size, 60u), o->via.ext.ptr);
		return hm_v_dec_new(vm, d, r);
	}
	return hm_vm_fail(vm, HM_ETYPE, "a value of the data is of a kind templates do not know");
}

/* -- text ----------------------------------------------------------------------------- */

static int number_text(struct hm_vm *vm, struct hm_val v, struct hm_str *r)
{
	struct hm_text t = {.vm = vm};
	struct hm_buf b;

	if (!vm->number) {
		if (!hm_text_room(&t, HM_DEC_MAX_TEXT + 1))
			return vm->rc;
		*r = hm_str_n(t.p, hm_num_computer(hm_v_dec(v), t.p));
		return 0;
	}
	if (vm->number->malformed)
		return hm_vm_fail(vm, HM_EINVAL, "the number pattern \"%.*s\" is malformed",
				  HM_STRF(hm_str_n(vm->number_format.p, hm_utf8_cut(vm->number_format, 60))));
	hm_buf_init_arena(&b, vm->arena, 4096);
	if (!hm_numfmt_put(vm->number, hm_v_dec(v), &b) || b.err)
		return hm_vm_fail(vm, HM_EINVAL, "the number is too large for the number format");
	*r = b.len ? hm_buf_str(&b) : HM_STR("");
	return 0;
}

static int date_text(struct hm_vm *vm, struct hm_val v, struct hm_str *r)
{
	struct hm_str f = vm->date_format[v.aux - 1];
	struct hm_iso_opts o = {0};
	struct hm_buf b;

	if (f.p && f.len == 0)
		f = hm_date_medium(v.aux, vm->zh);
	hm_buf_init_arena(&b, vm->arena, 4096);
	if (!f.p || hm_iso_name(f, &o))
		hm_date_put_iso(&b, v.aux, v.u.i, vm->zone, o);
	else if (!hm_date_put_pattern(&b, f, v.u.i, vm->zone, vm->zh))
		return hm_vm_fail(vm, HM_EINVAL, "the date pattern \"%.*s\" is malformed", HM_STRF(f));
	*r = b.len ? hm_buf_str(&b) : HM_STR("");
	return b.err ? hm_vm_fail(vm, HM_ELIMIT, "the date pattern is too long") : 0;
}

int hm_v_text(struct hm_vm *vm, struct hm_val v, struct hm_str *r)
{
	switch ((enum hm_vkind)v.kind) {
	case V_STR: *r = hm_vstr_of(v); return 0;
	case V_EMPTY: *r = HM_STR(""); return 0;
	case V_INT:
	case V_DEC: return number_text(vm, v, r);
	case V_DATE: return date_text(vm, v, r);
	case V_NULL: return hm_vm_missing(vm);
	case V_BOOL:
		if (!vm->has_boolean)
			return hm_vm_wrong(
				vm, v, "text, a number or a date (use ?c, ?string('yes', 'no') or ?then)");
		*r = v.u.i ? vm->yes : vm->no;
		return 0;
	default: return hm_vm_wrong(vm, v, "text, a number or a date");
	}
}

int hm_v_string_arg(struct hm_vm *vm, struct hm_val v, struct hm_str *r)
{
	if (v.kind == V_STR || v.kind == V_EMPTY)
		return hm_v_text(vm, v, r);
	return v.kind == V_NULL ? hm_vm_missing(vm) : hm_vm_wrong(vm, v, "a string");
}

int hm_v_number(struct hm_vm *vm, struct hm_val v, struct hm_dec *r)
{
	if (hm_v_is_num(v)) {
		*r = hm_v_dec(v);
		return 0;
	}
	return v.kind == V_NULL ? hm_vm_missing(vm) : hm_vm_wrong(vm, v, "a number");
}

int hm_v_int(struct hm_vm *vm, struct hm_val v, int64_t *r)
{
	struct hm_dec d;
	int rc = hm_v_number(vm, v, &d);

	if (rc == 0)
		*r = hm_dec_to_i32(d);
	return rc;
}

int hm_v_bool(struct hm_vm *vm, struct hm_val v, bool *r)
{
	if (v.kind == V_BOOL) {
		*r = v.u.i != 0;
		return 0;
	}
	return v.kind == V_NULL ? hm_vm_missing(vm) : hm_vm_wrong(vm, v, "a boolean");
}

/* -- sequences -------------------------------------------------------------------------- */

int64_t hm_v_seq_size(struct hm_val v)
{
	switch (v.kind) {
	case V_SEQ: return v.u.seq->n;
	case V_MPSEQ: return v.u.mp->via.array.size;
	case V_RANGE: return v.u.range->unbounded ? INT32_MAX : v.u.range->size;
	default: return 0;
	}
}

int hm_v_seq_get(struct hm_vm *vm, struct hm_val v, int64_t i, struct hm_val *r)
{
	switch (v.kind) {
	case V_SEQ: *r = v.u.seq->v[i]; return 0;
	case V_MPSEQ: return hm_v_from_mp(vm, &v.u.mp->via.array.ptr[i], r);
	case V_RANGE: *r = hm_vint(v.u.range->begin + i * v.u.range->step); return 0;
	default: *r = HM_VNULL; return 0;
	}
}

int hm_v_seq_new(struct hm_vm *vm, uint32_t cap, struct hm_val *r)
{
	struct hm_seq *s = hm_vm_alloc(vm, sizeof(*s) + sizeof(struct hm_seqbuf));
	struct hm_seqbuf *b = (struct hm_seqbuf *)(s + 1);

	if (!s)
		return vm->rc;
	cap = hm_max(cap, 4u);
	b->v = hm_vm_alloc(vm, cap * sizeof(*b->v));
	if (!b->v)
		return vm->rc;
	b->cap = cap;
	b->used = 0;
	*s = (struct hm_seq){0, b, b->v};
	*r = (struct hm_val){.kind = V_SEQ, .u.seq = s};
	return 0;
}

/*
 * A new sequence one longer. When this one ends where its storage is used up to, and there
 * is room, the storage is shared: appending in a loop then costs one item each.
 */
int hm_v_seq_push(struct hm_vm *vm, struct hm_val *seq, struct hm_val item)
{
	const struct hm_seq *s = seq->u.seq;
	struct hm_seqbuf *b = s->buf;
	struct hm_seq *n = hm_vm_alloc(vm, sizeof(*n));

	if (!n)
		return vm->rc;
	if (!b || s->v != b->v || s->n != b->used || b->used == b->cap) {
		uint32_t cap = hm_max(8u, s->n * 2);
		struct hm_seqbuf *nb = hm_vm_alloc(vm, sizeof(*nb));

		if (!nb || !(nb->v = hm_vm_alloc(vm, cap * sizeof(*nb->v))))
			return vm->rc;
		if (s->n)
			memcpy(nb->v, s->v, s->n * sizeof(*nb->v));
		nb->used = s->n;
		nb->cap = cap;
		b = nb;
	}
	b->v[b->used++] = item;
	*n = (struct hm_seq){s->n + 1, b, b->v};
	*seq = (struct hm_val){.kind = V_SEQ, .u.seq = n};
	return 0;
}

int hm_v_seq_put(struct hm_vm *vm, struct hm_val seq, struct hm_val item)
{
	struct hm_seq *s = seq.u.seq;
	struct hm_seqbuf *b = s->buf;

	if (b->used == b->cap) {
		uint32_t cap = b->cap * 2;
		struct hm_val *v = hm_vm_alloc(vm, cap * sizeof(*v));

		if (!v)
			return vm->rc;
		memcpy(v, b->v, b->used * sizeof(*v));
		b->v = v;
		b->cap = cap;
		s->v = v;
	}
	b->v[b->used++] = item;
	s->n++;
	return 0;
}

/* -- hashes --------------------------------------------------------------------------------- */

static bool mp_key(const msgpack_object *k, struct hm_str *r)
{
	if (k->type == MSGPACK_OBJECT_STR)
		*r = hm_str_n(k->via.str.ptr, k->via.str.size);
	else if (k->type == MSGPACK_OBJECT_BIN)
		*r = hm_str_n(k->via.bin.ptr, k->via.bin.size);
	else
		return false;
	return true;
}

static struct hm_ent *hash_find(const struct hm_hash *h, struct hm_str key)
{
	if (!h->index) {
		for (uint32_t i = 0; i < h->n; i++)
			if (hm_str_eq(h->e[i].key, key))
				return &h->e[i];
		return NULL;
	}
	for (uint32_t i = (uint32_t)hm_hash64(key.p, key.len, 0) & (h->index_size - 1); h->index[i];
	     i = (i + 1) & (h->index_size - 1))
		if (hm_str_eq(h->e[h->index[i] - 1].key, key))
			return &h->e[h->index[i] - 1];
	return NULL;
}

static void hash_index_add(struct hm_hash *h, uint32_t entry)
{
	struct hm_str key = h->e[entry].key;
	uint32_t i = (uint32_t)hm_hash64(key.p, key.len, 0) & (h->index_size - 1);

	while (h->index[i])
		i = (i + 1) & (h->index_size - 1);
	h->index[i] = entry + 1;
}

int hm_v_hash_new(struct hm_vm *vm, uint32_t cap, struct hm_val *r)
{
	struct hm_hash *h = hm_vm_alloc(vm, sizeof(*h));

	if (!h)
		return vm->rc;
	*h = (struct hm_hash){.cap = hm_max(cap, 4u)};
	h->e = hm_vm_alloc(vm, h->cap * sizeof(*h->e));
	if (!h->e)
		return vm->rc;
	*r = (struct hm_val){.kind = V_HASH, .u.hash = h};
	return 0;
}

int hm_v_hash_put(struct hm_vm *vm, struct hm_val hash, struct hm_str key, struct hm_val item)
{
	struct hm_hash *h = hash.u.hash;
	struct hm_ent *e = hash_find(h, key);
	uint32_t i;

	if (e) {
		e->val = item;
		return 0;
	}
	if (h->n == h->cap) {
		struct hm_ent *more = hm_vm_alloc(vm, (size_t)h->cap * 2 * sizeof(*more));

		if (!more)
			return vm->rc;
		memcpy(more, h->e, h->n * sizeof(*more));
		h->e = more;
		h->cap *= 2;
	}
	h->e[h->n++] = (struct hm_ent){key, item};
	if (h->n < 12)
		return 0;
	if (h->index && h->n * 2 < h->index_size) {
		hash_index_add(h, h->n - 1);
		return 0;
	}
	h->index_size = h->index ? h->index_size * 2 : 64;
	h->index = hm_vm_alloc(vm, h->index_size * sizeof(*h->index));
	if (!h->index)
		return vm->rc;
	memset(h->index, 0, h->index_size * sizeof(*h->index));
	for (i = 0; i < h->n; i++)
		hash_index_add(h, i);
	return 0;
}

int hm_v_hash_get(struct hm_vm *vm, struct hm_val v, struct hm_str key, struct hm_val *r)
{
	const msgpack_object *o;
	const struct hm_ent *e;

	*r = HM_VNULL;
	switch (v.kind) {
	case V_MPMAP: o = hm_mp_find(v.u.mp, key); return o ? hm_v_from_mp(vm, o, r) : 0;
	case V_HASH:
		e = hash_find(v.u.hash, key);
		if (e)
			*r = e->val;
		return 0;
	case V_SCOPE: return hm_vm_scope_get(vm, v, key, r);
	default: return 0;
	}
}

int64_t hm_v_hash_size(struct hm_val v)
{
	return v.kind == V_HASH ? v.u.hash->n : v.kind == V_MPMAP ? v.u.mp->via.map.size : 0;
}

int hm_v_hash_at(struct hm_vm *vm, struct hm_val v, int64_t i, struct hm_str *key, struct hm_val *r)
{
	if (v.kind == V_HASH) {
		*key = v.u.hash->e[i].key;
		*r = v.u.hash->e[i].val;
		return 0;
	}
	if (!mp_key(&v.u.mp->via.map.ptr[i].key, key))
		return hm_vm_fail(vm, HM_ETYPE, "a key of the data is not a string");
	return hm_v_from_mp(vm, &v.u.mp->via.map.ptr[i].val, r);
}

/* -- base.key, base[key] ------------------------------------------------------------------------ */

int hm_v_get(struct hm_vm *vm, struct hm_val base, struct hm_str key, struct hm_val *r)
{
	if (hm_v_is_hash(base))
		return hm_v_hash_get(vm, base, key, r);
	return base.kind == V_NULL ? hm_vm_missing(vm) : hm_vm_wrong(vm, base, "a hash");
}

/* Byte offset of UTF-16 unit `unit`; a unit inside a pair counts as its character. -1: past the end. */
static ptrdiff_t unit_offset(struct hm_str s, int64_t unit)
{
	size_t i = 0, n;
	int64_t u = 0;

	while (i < s.len && u < unit) {
		uint32_t cp = hm_utf8_decode(hm_str_n(s.p + i, s.len - i), &n);

		u += cp >= 0x10000 ? 2 : 1;
		if (u > unit)
			break;
		i += n;
	}
	return u < unit ? -1 : (ptrdiff_t)i;
}

static struct hm_str utf16_cut(struct hm_str s, int64_t from, int64_t to)
{
	ptrdiff_t a = unit_offset(s, from), b;

	if (a < 0)
		return HM_STR("");
	s = hm_str_n(s.p + a, s.len - (size_t)a);
	b = unit_offset(s, to - from);
	return hm_str_n(s.p, b < 0 ? s.len : (size_t)b);
}

static int string_at(struct hm_vm *vm, struct hm_str s, int64_t i, struct hm_val *r)
{
	int64_t len = (int64_t)hm_utf8_utf16_units(s);
	struct hm_str c;

	if (i < 0 || i >= len)
		return hm_vm_fail(vm, HM_EINVAL,
				  "index %lld is outside of the text, which has %lld characters",
				  (long long)i, (long long)len);
	c = utf16_cut(s, i, i + 1);
	if (c.len == 0) { /* half of a pair: the whole character */
		size_t n;
		struct hm_str rest = utf16_cut(s, i, INT64_MAX / 2);

		hm_utf8_decode(rest, &n);
		c = hm_str_n(rest.p, n);
	}
	*r = hm_vstr(c);
	return 0;
}

static int slice(struct hm_vm *vm, struct hm_val base, const struct hm_range *g, struct hm_val *r)
{
	bool is_seq = hm_v_is_seq(base) && base.kind != V_EMPTY;
	struct hm_str s = HM_STR("");
	int64_t target, first = g->begin, last, n, i;
	int rc;

	if (!is_seq) {
		if (base.kind == V_NULL)
			return hm_vm_missing(vm);
		if (base.kind == V_BOOL || hm_v_is_hash(base) || base.kind >= V_MARKUP) {
			if (base.kind != V_DATE && base.kind != V_EMPTY)
				return hm_vm_wrong(vm, base, "a sequence or text");
		}
		rc = hm_v_text(vm, base, &s);
		if (rc)
			return rc;
	}
	if (!g->unbounded && g->size == 0) {
		if (!is_seq) {
			*r = hm_vstr(HM_STR(""));
			return 0;
		}
		return hm_v_seq_new(vm, 0, r);
	}
	if (first < 0)
		return hm_vm_fail(vm, HM_EINVAL, "the range starts below 0");
	target = is_seq ? hm_v_seq_size(base) : (int64_t)hm_utf8_utf16_units(s);
	if ((g->unbounded || g->adaptive) && g->step == 1 ? first > target : first >= target)
		return hm_vm_fail(vm, HM_EINVAL, "the range starts at %lld, but there are only %lld items",
				  (long long)first, (long long)target);
	if (g->unbounded) {
		n = target - first;
	} else {
		last = first + (g->size - 1) * g->step;
		n = g->size;
		if (last < 0) {
			if (!g->adaptive)
				return hm_vm_fail(vm, HM_EINVAL, "the range ends below 0");
			n = first + 1;
		} else if (last >= target) {
			if (!g->adaptive)
				return hm_vm_fail(vm, HM_EINVAL,
						  "the range ends at %lld, but there are only %lld items",
						  (long long)last, (long long)target);
			n = target > first ? target - first : first - target;
		}
	}
	if (!is_seq) {
		if (g->step < 0 && n > 1) {
			if (!(g->inclusive && n == 2))
				return hm_vm_fail(vm, HM_EINVAL,
						  "text cannot be cut by a range that counts down");
			n = 0; /* FreeMarker's "abc"[1..0] */
		}
		*r = hm_vstr(utf16_cut(s, first, first + n));
		return 0;
	}
	rc = hm_vm_step(vm, (uint64_t)n);
	if (!rc)
		rc = hm_v_seq_new(vm, (uint32_t)n, r);
	for (i = 0; rc == 0 && i < n; i++) {
		struct hm_val item;

		rc = hm_v_seq_get(vm, base, first + i * g->step, &item);
		if (rc == 0)
			rc = hm_v_seq_put(vm, *r, item);
	}
	return rc;
}

int hm_v_index(struct hm_vm *vm, struct hm_val base, struct hm_val key, struct hm_val *r)
{
	struct hm_str s;
	int64_t i;
	int rc;

	if (base.kind == V_NULL || key.kind == V_NULL)
		return hm_vm_missing(vm);
	if (hm_v_is_num(key)) {
		rc = hm_v_int(vm, key, &i);
		if (rc)
			return rc;
		if (hm_v_is_seq(base)) {
			*r = HM_VNULL;
			if (base.kind == V_RANGE && i < 0)
				return hm_vm_fail(vm, HM_EINVAL, "index %lld is outside of the range",
						  (long long)i);
			if (i < 0 || i >= hm_v_seq_size(base))
				return 0;
			return hm_v_seq_get(vm, base, i, r);
		}
		if (hm_v_is_hash(base) || base.kind == V_BOOL || base.kind == V_MACRO ||
		    base.kind == V_METHOD || base.kind == V_MARKUP)
			return hm_vm_wrong(vm, base, "a sequence or text");
		rc = hm_v_text(vm, base, &s);
		return rc ? rc : string_at(vm, s, i, r);
	}
	if (key.kind == V_STR || key.kind == V_EMPTY)
		return hm_v_get(vm, base, key.kind == V_STR ? hm_vstr_of(key) : HM_STR(""), r);
	if (key.kind == V_RANGE)
		return slice(vm, base, key.u.range, r);
	return hm_vm_wrong(vm, key, "a number, a range or a string");
}

/* -- markup --------------------------------------------------------------------------------------- */

int hm_v_markup(struct hm_vm *vm, unsigned fmt, bool plain, struct hm_str text, struct hm_val *r)
{
	struct hm_markup *m = hm_vm_alloc(vm, sizeof(*m));

	if (!m)
		return vm->rc;
	*m = (struct hm_markup){(uint8_t)fmt, plain, text};
	*r = (struct hm_val){.kind = V_MARKUP, .u.markup = m};
	return 0;
}

bool hm_v_is_empty(struct hm_val v)
{
	switch ((enum hm_vkind)v.kind) {
	case V_NULL:
	case V_EMPTY: return true;
	case V_STR: return v.len == 0;
	case V_MARKUP: return v.u.markup->text.len == 0;
	case V_SEQ:
	case V_MPSEQ:
	case V_RANGE: return hm_v_seq_size(v) == 0;
	case V_HASH:
	case V_MPMAP: return hm_v_hash_size(v) == 0;
	default: return false;
	}
}

/* -- comparison --------------------------------------------------------------------------------------- */

int hm_v_compare(struct hm_vm *vm, struct hm_val a, struct hm_val b, bool eq, bool lenient, int *r)
{
	if (hm_likely(a.kind == V_INT && b.kind == V_INT)) {
		*r = a.u.i < b.u.i ? -1 : a.u.i > b.u.i;
		return 0;
	}
	if (a.kind == V_NULL || b.kind == V_NULL) {
		*r = 2;
		return lenient ? 0 : hm_vm_missing(vm);
	}
	if (a.kind == V_EMPTY)
		a = hm_vstr(HM_STR(""));
	if (b.kind == V_EMPTY)
		b = hm_vstr(HM_STR(""));
	if (hm_v_is_num(a) && hm_v_is_num(b)) {
		*r = hm_dec_cmp(hm_v_dec(a), hm_v_dec(b));
		return 0;
	}
	if (a.kind == V_DATE && b.kind == V_DATE) {
		if (a.aux != b.aux) {
			*r = 2;
			return lenient ? 0
				       : hm_vm_fail(vm, HM_ETYPE, "%s cannot be compared with %s",
						    hm_v_kind_name(a), hm_v_kind_name(b));
		}
		*r = a.u.i < b.u.i ? -1 : a.u.i > b.u.i;
		return 0;
	}
	if (a.kind == V_STR && b.kind == V_STR) {
		if (!eq)
			return hm_vm_fail(vm, HM_ETYPE, "text can be compared only with == and !=");
		*r = hm_str_eq(hm_vstr_of(a), hm_vstr_of(b)) ? 0 : 1;
		return 0;
	}
	if (a.kind == V_BOOL && b.kind == V_BOOL) {
		if (!eq)
			return hm_vm_fail(vm, HM_ETYPE, "booleans can be compared only with == and !=");
		*r = a.u.i == b.u.i ? 0 : 1;
		return 0;
	}
	*r = 2;
	return lenient ? 0
		       : hm_vm_fail(vm, HM_ETYPE, "%s cannot be compared with %s", hm_v_kind_name(a),
				    hm_v_kind_name(b));
}

/* -- + ----------------------------------------------------------------------------------------------------- */

static int add_seqs(struct hm_vm *vm, struct hm_val a, struct hm_val b, struct hm_val *r)
{
	int64_t na = hm_v_seq_size(a), nb = hm_v_seq_size(b), i;
	struct hm_val item;
	int rc;

	if ((a.kind == V_RANGE && a.u.range->unbounded) || (b.kind == V_RANGE && b.u.range->unbounded))
		return hm_vm_fail(vm, HM_EINVAL, "a range without an end cannot be joined to a sequence");
	rc = hm_vm_step(vm, (uint64_t)nb);
	if (rc)
		return rc;
	if (a.kind == V_SEQ) {
		*r = a;
	} else {
		rc = hm_vm_step(vm, (uint64_t)na);
		if (!rc)
			rc = hm_v_seq_new(vm, (uint32_t)(na + nb), r);
		for (i = 0; rc == 0 && i < na; i++) {
			rc = hm_v_seq_get(vm, a, i, &item);
			if (rc == 0)
				rc = hm_v_seq_put(vm, *r, item);
		}
	}
	for (i = 0; rc == 0 && i < nb; i++) {
		rc = hm_v_seq_get(vm, b, i, &item);
		if (rc == 0)
			rc = hm_v_seq_push(vm, r, item);
	}
	return rc;
}

static int add_hashes(struct hm_vm *vm, struct hm_val a, struct hm_val b, struct hm_val *r)
{
	int64_t na = hm_v_hash_size(a), nb = hm_v_hash_size(b), i;
	struct hm_str key;
	struct hm_val item;
	int rc = hm_vm_step(vm, (uint64_t)(na + nb));

	if (rc == 0)
		rc = hm_v_hash_new(vm, (uint32_t)(na + nb), r);
	for (i = 0; rc == 0 && i < na; i++) {
		rc = hm_v_hash_at(vm, a, i, &key, &item);
		if (rc == 0)
			rc = hm_v_hash_put(vm, *r, key, item);
	}
	for (i = 0; rc == 0 && i < nb; i++) {
		struct hm_val old;

		rc = hm_v_hash_at(vm, b, i, &key, &item);
		if (rc == 0 && item.kind == V_NULL) { /* a missing value on the right hides nothing */
			rc = hm_v_hash_get(vm, *r, key, &old);
			item = old;
		}
		if (rc == 0)
			rc = hm_v_hash_put(vm, *r, key, item);
	}
	return rc;
}

/* Joins two texts; a text that was just made by joining grows in place. */
static int join(struct hm_vm *vm, struct hm_str a, struct hm_str b, struct hm_val *r)
{
	size_t n = a.len + b.len, cap;
	char *p;

	if (b.len == 0 || a.len == 0) {
		*r = hm_vstr(a.len ? a : b);
		return 0;
	}
	if (a.p + a.len == vm->tail && b.len <= vm->tail_room) {
		memcpy(vm->tail, b.p, b.len);
		vm->tail += b.len;
		vm->tail_room -= b.len;
		*r = hm_vstr(hm_str_n(a.p, n));
		return 0;
	}
	cap = n + hm_min(n, (size_t)65536) + 16;
	p = hm_vm_alloc(vm, cap);
	if (!p)
		return vm->rc;
	memcpy(p, a.p, a.len);
	memcpy(p + a.len, b.p, b.len);
	vm->tail = p + n;
	vm->tail_room = cap - n;
	*r = hm_vstr(hm_str_n(p, n));
	return 0;
}

/* Not escaped yet: text, and markup made of text alone, which stays that. */
static bool still_plain(struct hm_val v)
{
	return v.kind != V_MARKUP || v.u.markup->plain;
}

/* The result is of the left side's format; where the left side is still plain text, of the right side's. */
static int add_markup(struct hm_vm *vm, struct hm_val a, struct hm_val b, struct hm_val *r)
{
	unsigned fmt = a.kind == V_MARKUP ? a.u.markup->fmt : b.u.markup->fmt;
	bool plain = still_plain(a) && still_plain(b);
	struct hm_str part[2];
	struct hm_val text, side[2] = {a, b};
	int rc = 0;

	if (!still_plain(b) && b.u.markup->fmt != fmt) {
		if (!still_plain(a))
			return hm_vm_fail(vm, HM_EINVAL, "markup of two formats cannot be joined");
		fmt = b.u.markup->fmt;
	}
	for (int i = 0; i < 2 && rc == 0; i++) {
		if (side[i].kind != V_MARKUP)
			rc = hm_v_text(vm, side[i], &part[i]);
		else
			part[i] = side[i].u.markup->text;
		if (rc == 0 && !plain && still_plain(side[i]))
			rc = hm_escape_text(vm, fmt, part[i], &part[i]);
	}
	if (rc == 0)
		rc = join(vm, part[0], part[1], &text);
	return rc ? rc : hm_v_markup(vm, fmt, plain, hm_vstr_of(text), r);
}

static bool coercible(const struct hm_vm *vm, struct hm_val v)
{
	return v.kind == V_STR || v.kind == V_EMPTY || hm_v_is_num(v) || v.kind == V_DATE ||
	       v.kind == V_MARKUP || (v.kind == V_BOOL && vm->has_boolean);
}

int hm_v_add(struct hm_vm *vm, struct hm_val a, struct hm_val b, struct hm_val *r)
{
	struct hm_str sa, sb;
	int64_t sum;
	int rc;

	if (a.kind == V_INT && b.kind == V_INT && !__builtin_add_overflow(a.u.i, b.u.i, &sum)) {
		*r = hm_vint(sum);
		return 0;
	}
	if (hm_v_is_num(a) && hm_v_is_num(b)) {
		struct hm_dec d;

		if (!hm_dec_add(hm_v_dec(a), hm_v_dec(b), &d))
			return hm_vm_fail(vm, HM_EINVAL, "the sum has more than 38 digits");
		return hm_v_dec_new(vm, d, r);
	}
	if (hm_v_is_seq(a) && hm_v_is_seq(b))
		return a.kind == V_EMPTY && b.kind == V_EMPTY ? (*r = a, 0) : add_seqs(vm, a, b, r);
	if (hm_v_is_hash(a) && hm_v_is_hash(b) && !(coercible(vm, a) && coercible(vm, b)))
		return add_hashes(vm, a, b, r);
	if ((a.kind == V_MARKUP || b.kind == V_MARKUP) && coercible(vm, a) && coercible(vm, b))
		return add_markup(vm, a, b, r);
	if (a.kind == V_MARKUP && b.kind == V_NULL)
		return hm_vm_missing(vm);
	rc = hm_v_text(vm, a, &sa);
	if (rc == 0)
		rc = hm_v_text(vm, b, &sb);
	return rc ? rc : join(vm, sa, sb, r);
}
