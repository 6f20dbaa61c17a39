/* builtins_seq.c - sequences and hashes; ?filter and its kin are loops of the bytecode, see compile_expr.c */
#include "tmpl/vm.h"

#define ARGS struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r

static int need_seq(struct hm_vm *vm, const struct hm_val *v)
{
	return hm_v_is_seq(v[0]) ? 0 : hm_vm_wrong(vm, v[0], "a sequence");
}

/* A sequence that ends: a range without an end is none to those who need every item. */
static int need_finite(struct hm_vm *vm, const struct hm_val *v)
{
	int rc = need_seq(vm, v);

	if (rc == 0 && v[0].kind == V_RANGE && v[0].u.range->unbounded)
		rc = hm_vm_fail(vm, HM_EINVAL, "the range has no end");
	return rc;
}

/* The next item from *i on that is not missing, or a missing one at the end; a step for each item. */
static int next_item(struct hm_vm *vm, struct hm_val seq, int64_t *i, struct hm_val *item)
{
	int64_t n = hm_v_seq_size(seq);
	int rc = 0;

	*item = HM_VNULL;
	while (rc == 0 && item->kind == V_NULL && *i < n) {
		rc = hm_vm_step(vm, 1);
		if (rc == 0)
			rc = hm_v_seq_get(vm, seq, (*i)++, item);
	}
	return rc;
}

int hm_bi_size(ARGS)
{
	if (hm_v_is_seq(v[0]))
		*r = hm_vint(hm_v_seq_size(v[0]));
	else if (hm_v_is_hash(v[0]) && v[0].kind != V_SCOPE)
		*r = hm_vint(hm_v_hash_size(v[0]));
	else
		return hm_vm_wrong(vm, v[0], "a sequence or hash");
	return 0;
}

int hm_bi_first(ARGS)
{
	int rc = need_seq(vm, v);

	*r = HM_VNULL;
	return rc || hm_v_seq_size(v[0]) == 0 ? rc : hm_v_seq_get(vm, v[0], 0, r);
}

int hm_bi_last(ARGS)
{
	int rc = need_seq(vm, v);

	*r = HM_VNULL;
	return rc || hm_v_seq_size(v[0]) == 0 ? rc : hm_v_seq_get(vm, v[0], hm_v_seq_size(v[0]) - 1, r);
}

int hm_bi_join(ARGS)
{
	struct hm_text t = {.vm = vm};
	struct hm_str sep, empty = HM_STR(""), after = HM_STR(""), s;
	struct hm_val item;
	int64_t i = 0;
	bool any = false;
	int rc = need_finite(vm, v);

	if (rc == 0)
		rc = hm_v_string_arg(vm, v[1], &sep);
	if (rc == 0 && nargs > 1)
		rc = hm_v_string_arg(vm, v[2], &empty);
	if (rc == 0 && nargs > 2)
		rc = hm_v_string_arg(vm, v[3], &after);
	while (rc == 0 && (rc = next_item(vm, v[0], &i, &item)) == 0 && item.kind != V_NULL) {
		rc = hm_v_text(vm, item, &s);
		if (rc == 0 && ((any && !hm_text_put(&t, sep)) || !hm_text_put(&t, s)))
			rc = vm->rc;
		any = true;
	}
	if (rc)
		return rc;
	if (!hm_text_put(&t, any ? after : empty))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_reverse(ARGS)
{
	int64_t n, i;
	int rc = need_finite(vm, v);

	if (rc)
		return rc;
	n = hm_v_seq_size(v[0]);
	rc = hm_vm_step(vm, (uint64_t)n);
	if (rc == 0)
		rc = hm_v_seq_new(vm, (uint32_t)n, r);
	for (i = n; rc == 0 && i > 0; i--) {
		struct hm_val item;

		rc = hm_v_seq_get(vm, v[0], i - 1, &item);
		if (rc == 0)
			rc = hm_v_seq_put(vm, *r, item);
	}
	return rc;
}

/* -- sorting --------------------------------------------------------------------------------- */

/* Weight of a character when case does not matter: other signs, then digits, then letters. */
static uint32_t weight(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return 0x100u + c;
	if (c >= 'a' && c <= 'z')
		return 0x200u + c;
	if (c >= 'A' && c <= 'Z')
		return 0x200u + c + 32;
	return c >= 0x80 ? 0x300u + c : c;
}

/* Letters without regard to case; of a tie the first difference decides, lower case first. */
static int collate(struct hm_str a, struct hm_str b)
{
	size_t n = hm_min(a.len, b.len), i;

	for (i = 0; i < n; i++) {
		uint32_t x = weight((unsigned char)a.p[i]), y = weight((unsigned char)b.p[i]);

		if (x != y)
			return x < y ? -1 : 1;
	}
	if (a.len != b.len)
		return a.len < b.len ? -1 : 1;
	for (i = 0; i < n; i++)
		if (a.p[i] != b.p[i])
			return a.p[i] > b.p[i] ? -1 : 1; /* 'a' is above 'A' in ASCII */
	return 0;
}

struct sortable {
	struct hm_val key, item;
};

static int order(struct hm_vm *vm, struct hm_val a, struct hm_val b, int *r)
{
	if (a.kind == V_STR) {
		*r = collate(hm_vstr_of(a), hm_vstr_of(b));
		return 0;
	}
	if (a.kind == V_BOOL) {
		*r = (int)a.u.i - (int)b.u.i;
		return 0;
	}
	return hm_v_compare(vm, a, b, false, false, r);
}

static bool same_kind(struct hm_val a, struct hm_val b)
{
	return hm_v_is_num(a) ? hm_v_is_num(b) : a.kind == b.kind && (a.kind != V_DATE || a.aux == b.aux);
}

/* Merge sort, stable, with one spare array. */
static int merge_sort(struct hm_vm *vm, struct sortable *s, struct sortable *spare, size_t n)
{
	for (size_t width = 1; width < n; width *= 2) {
		for (size_t lo = 0; lo < n; lo += 2 * width) {
			size_t mid = hm_min(lo + width, n), hi = hm_min(lo + 2 * width, n), i = lo, j = mid,
			       k = lo;

			while (i < mid || j < hi) {
				int cmp = 0, rc = hm_vm_step(vm, 1);

				if (rc == 0 && i < mid && j < hi)
					rc = order(vm, s[i].key, s[j].key, &cmp);
				if (rc)
					return rc;
				spare[k++] = j >= hi || (i < mid && cmp <= 0) ? s[i++] : s[j++];
			}
		}
		memcpy(s, spare, n * sizeof(*s));
	}
	return 0;
}

/* key_of(item) for ?sort_by; path: the sub-variables to follow */
static int key_of(struct hm_vm *vm, struct hm_val item, const struct hm_str *path, uint32_t n,
		  struct hm_val *r)
{
	int rc = 0;

	*r = item;
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		rc = hm_v_get(vm, *r, path[i], r);
		if (rc == 0 && r->kind == V_NULL)
			return hm_vm_fail(vm, HM_EUNDEF, "an item has no \"%.*s\" to be sorted by",
					  HM_STRF(path[i]));
	}
	return rc;
}

static int sorted(struct hm_vm *vm, const struct hm_val *v, const struct hm_str *path, uint32_t npath,
		  struct hm_val *r)
{
	struct sortable *s;
	int64_t n, i;
	int rc = need_finite(vm, v);

	if (rc)
		return rc;
	n = hm_v_seq_size(v[0]);
	if (n == 0) {
		*r = v[0];
		return 0;
	}
	rc = hm_vm_step(vm, (uint64_t)n);
	if (rc)
		return rc;
	s = hm_vm_alloc(vm, (size_t)n * 2 * sizeof(*s) + 1);
	if (!s)
		return vm->rc;
	for (i = 0; i < n; i++) {
		rc = hm_v_seq_get(vm, v[0], i, &s[i].item);
		if (rc == 0)
			rc = key_of(vm, s[i].item, path, npath, &s[i].key);
		if (rc)
			return rc;
		if (s[i].key.kind == V_EMPTY)
			s[i].key = hm_vstr(HM_STR(""));
		if (s[i].key.kind == V_NULL)
			return hm_vm_missing(vm);
		if (s[i].key.kind != V_STR && s[i].key.kind != V_BOOL && s[i].key.kind != V_DATE &&
		    !hm_v_is_num(s[i].key))
			return hm_vm_wrong(vm, s[i].key, "something that can be sorted");
		if (!same_kind(s[0].key, s[i].key))
			return hm_vm_fail(vm, HM_ETYPE, "%s and %s cannot be sorted together",
					  hm_v_kind_name(s[0].key), hm_v_kind_name(s[i].key));
	}
	rc = merge_sort(vm, s, s + n, (size_t)n);
	if (rc == 0)
		rc = hm_v_seq_new(vm, (uint32_t)n, r);
	for (i = 0; rc == 0 && i < n; i++)
		rc = hm_v_seq_put(vm, *r, s[i].item);
	return rc;
}

int hm_bi_sort(ARGS)
{
	return sorted(vm, v, NULL, 0, r);
}

int hm_bi_sort_by(ARGS)
{
	struct hm_str path[16];
	int64_t n;
	uint32_t i;
	int rc = need_seq(vm, v);

	if (rc)
		return rc;
	if (v[1].kind == V_STR) {
		path[0] = hm_vstr_of(v[1]);
		return sorted(vm, v, path, 1, r);
	}
	if (!hm_v_is_seq(v[1]))
		return hm_vm_wrong(vm, v[1], "a name, or a sequence of names,");
	n = hm_v_seq_size(v[1]);
	if (n > (int64_t)hm_countof(path))
		return hm_vm_fail(vm, HM_EINVAL, "?sort_by can follow at most 16 names");
	for (i = 0; i < n; i++) {
		struct hm_val name;

		rc = hm_v_seq_get(vm, v[1], i, &name);
		if (rc == 0)
			rc = hm_v_string_arg(vm, name, &path[i]);
		if (rc)
			return rc;
	}
	return sorted(vm, v, path, (uint32_t)n, r);
}

static int extreme(struct hm_vm *vm, const struct hm_val *v, int sign, struct hm_val *r)
{
	struct hm_val item;
	int64_t i = 0;
	int rc = need_finite(vm, v), cmp = sign;

	*r = HM_VNULL;
	while (rc == 0 && (rc = next_item(vm, v[0], &i, &item)) == 0 && item.kind != V_NULL) {
		if (r->kind != V_NULL)
			rc = hm_v_compare(vm, item, *r, false, false, &cmp);
		if (cmp * sign > 0)
			*r = item;
	}
	return rc;
}

int hm_bi_min(ARGS)
{
	return extreme(vm, v, -1, r);
}

int hm_bi_max(ARGS)
{
	return extreme(vm, v, 1, r);
}

/* -- searching ---------------------------------------------------------------------------------- */

static int search(struct hm_vm *vm, struct hm_val seq, struct hm_val wanted, int64_t from, int64_t to,
		  int64_t *at)
{
	int64_t step = from <= to ? 1 : -1;

	*at = -1;
	for (int64_t i = from; i != to + step; i += step) {
		struct hm_val item;
		int cmp, rc = hm_vm_step(vm, 1);

		if (rc == 0)
			rc = hm_v_seq_get(vm, seq, i, &item);
		if (rc == 0)
			rc = hm_v_compare(vm, item, wanted, true, true, &cmp);
		if (rc)
			return rc;
		if (cmp == 0) {
			*at = i;
			return 0;
		}
	}
	return 0;
}

int hm_bi_seq_contains(ARGS)
{
	int64_t at = -1, n;
	int rc = need_seq(vm, v);

	if (rc)
		return rc;
	n = hm_v_seq_size(v[0]);
	if (n > 0)
		rc = search(vm, v[0], v[1], 0, n - 1, &at);
	*r = hm_vbool(at >= 0);
	return rc;
}

static int start_arg(struct hm_vm *vm, struct hm_val v, int64_t *from)
{
	if (v.kind == V_NULL)
		return hm_vm_fail(vm, HM_EINVAL, "argument 2 is missing");
	return hm_v_int(vm, v, from);
}

int hm_bi_seq_index_of(ARGS)
{
	int64_t at = -1, n, from = 0;
	int rc = need_seq(vm, v);

	if (rc == 0 && nargs > 1)
		rc = start_arg(vm, v[2], &from);
	if (rc)
		return rc;
	n = hm_v_seq_size(v[0]);
	from = hm_max(from, (int64_t)0);
	if (from < n)
		rc = search(vm, v[0], v[1], from, n - 1, &at);
	*r = hm_vint(at);
	return rc;
}

int hm_bi_seq_last_index_of(ARGS)
{
	int64_t at = -1, n, from;
	int rc = need_seq(vm, v);

	if (rc)
		return rc;
	n = hm_v_seq_size(v[0]);
	from = n - 1;
	if (nargs > 1 && (rc = start_arg(vm, v[2], &from)))
		return rc;
	from = hm_min(from, n - 1);
	if (from >= 0 && n > 0) {
		for (int64_t i = from; i >= 0 && at < 0; i--)
			if ((rc = search(vm, v[0], v[1], i, i, &at)))
				return rc;
	}
	*r = hm_vint(at);
	return 0;
}

int hm_bi_chunk(ARGS)
{
	struct hm_val row = HM_VNULL, item;
	int64_t n, i, size;
	int rc = need_finite(vm, v);

	if (nargs > 1 && v[2].kind == V_NULL)
		nargs = 1;
	if (rc == 0 && v[1].kind == V_NULL)
		return hm_vm_fail(vm, HM_EINVAL, "argument 1 of ?chunk is missing");
	if (rc == 0)
		rc = hm_v_int(vm, v[1], &size);
	if (rc)
		return rc;
	if (size < 1)
		return hm_vm_fail(vm, HM_EINVAL, "?chunk needs a size of at least 1");
	n = hm_v_seq_size(v[0]);
	rc = hm_v_seq_new(vm, 0, r);
	for (i = 0; rc == 0 && i < n; i++) {
		rc = hm_vm_step(vm, 1);
		if (rc == 0 && i % size == 0)
			rc = hm_v_seq_new(vm, (uint32_t)hm_min(size, n - i), &row);
		if (rc == 0)
			rc = hm_v_seq_get(vm, v[0], i, &item);
		if (rc == 0)
			rc = hm_v_seq_put(vm, row, item);
		if (rc == 0 && (i % size == size - 1 || (i == n - 1 && nargs < 2)))
			rc = hm_v_seq_put(vm, *r, row);
	}
	if (rc == 0 && nargs > 1 && n % size != 0) { /* the last row is filled up */
		for (i = n % size; rc == 0 && i < size; i++) {
			rc = hm_vm_step(vm, 1);
			if (rc == 0)
				rc = hm_v_seq_put(vm, row, v[2]);
		}
		if (rc == 0)
			rc = hm_v_seq_put(vm, *r, row);
	}
	return rc;
}

/* -- hashes --------------------------------------------------------------------------------------- */

static int of_hash(struct hm_vm *vm, const struct hm_val *v, bool keys, struct hm_val *r)
{
	int64_t n, i;
	int rc;

	if (!hm_v_is_hash(v[0]) || v[0].kind == V_SCOPE)
		return hm_vm_wrong(vm, v[0], "a hash");
	n = hm_v_hash_size(v[0]);
	rc = hm_vm_step(vm, (uint64_t)n);
	if (rc == 0)
		rc = hm_v_seq_new(vm, (uint32_t)n, r);
	for (i = 0; rc == 0 && i < n; i++) {
		struct hm_str key;
		struct hm_val item;

		rc = hm_v_hash_at(vm, v[0], i, &key, &item);
		if (rc == 0)
			rc = hm_v_seq_put(vm, *r, keys ? hm_vstr(key) : item);
	}
	r->aux = 1; /* both a sequence and a collection */
	return rc;
}

int hm_bi_keys(ARGS)
{
	return of_hash(vm, v, true, r);
}

int hm_bi_values(ARGS)
{
	return of_hash(vm, v, false, r);
}
