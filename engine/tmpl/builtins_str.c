/*
 * builtins_str.c - ?upper_case ... ?truncate: text in, text out
 *
 * Positions and lengths are UTF-16 code units, as in FreeMarker, while text is UTF-8:
 * offsets are translated at the edges, and never fall inside a character.
 */
#include "tmpl/compress.h"
#include "tmpl/textcase.h"
#include "tmpl/vm.h"

#define ARGS struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r

static int target(struct hm_vm *vm, const struct hm_val *v, struct hm_str *s)
{
	return hm_v_text(vm, v[0], s);
}

static uint32_t decode(struct hm_str s, size_t i, size_t *n)
{
	return hm_utf8_decode(hm_str_n(s.p + i, s.len - i), n);
}

/* -- case ------------------------------------------------------------------------------ */

static bool put_upper(struct hm_text *t, struct hm_str s)
{
	char c[HM_CASE_MAX];
	size_t i, n;

	for (i = 0; i < s.len; i += n) {
		uint32_t cp = decode(s, i, &n);

		if (!hm_text_put(t, hm_str_n(c, hm_upper(cp, c))))
			return false;
	}
	return true;
}

/* The Greek sigma at the end of a word has a form of its own. */
static bool final_sigma(struct hm_str s, size_t i, size_t n)
{
	size_t k = i, len;
	bool before = false;

	while (k > 0) {
		size_t start = k - 1;

		while (start > 0 && ((unsigned char)s.p[start] & 0xC0) == 0x80)
			start--;
		before = hm_is_cased(decode(s, start, &len));
		break;
	}
	return before && (i + n >= s.len || !hm_is_cased(decode(s, i + n, &len)));
}

static bool put_lower(struct hm_text *t, struct hm_str s)
{
	char c[HM_CASE_MAX];
	size_t i, n, len;

	for (i = 0; i < s.len; i += n) {
		uint32_t cp = decode(s, i, &n);

		len = cp == 0x3A3 && final_sigma(s, i, n) ? hm_utf8_encode(0x3C2, c) : hm_lower(cp, c);
		if (!hm_text_put(t, hm_str_n(c, len)))
			return false;
	}
	return true;
}

static int change_case(struct hm_vm *vm, const struct hm_val *v, bool (*put)(struct hm_text *, struct hm_str),
		       struct hm_val *r)
{
	struct hm_text t = {.vm = vm};
	struct hm_str s;
	int rc = target(vm, v, &s);

	if (rc)
		return rc;
	if (!put(&t, s))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_upper_case(ARGS)
{
	return change_case(vm, v, put_upper, r);
}

int hm_bi_lower_case(ARGS)
{
	return change_case(vm, v, put_lower, r);
}

/* White space kept, one character changed, the rest kept */
static bool put_first(struct hm_text *t, struct hm_str s, bool upper)
{
	size_t i = 0, n = 0;
	char c[HM_CASE_MAX];
	uint32_t cp;

	while (i < s.len && hm_is_white(decode(s, i, &n)))
		i += n;
	if (i == s.len)
		return hm_text_put(t, s);
	cp = decode(s, i, &n);
	if (cp < 0x10000) /* one UTF-16 unit for one, as Java's Character does it: a sharp s stays */
		cp = upper ? hm_upper_cp(cp) : cp == 0x130 ? 'i' : hm_lower_cp(cp);
	return hm_text_put(t, hm_str_n(s.p, i)) && hm_text_put(t, hm_str_n(c, hm_utf8_encode(cp, c))) &&
	       hm_text_put(t, hm_str_n(s.p + i + n, s.len - i - n));
}

static bool put_cap_first(struct hm_text *t, struct hm_str s)
{
	return put_first(t, s, true);
}

static bool put_uncap_first(struct hm_text *t, struct hm_str s)
{
	return put_first(t, s, false);
}

int hm_bi_cap_first(ARGS)
{
	return change_case(vm, v, put_cap_first, r);
}

int hm_bi_uncap_first(ARGS)
{
	return change_case(vm, v, put_uncap_first, r);
}

static bool put_capitalized(struct hm_text *t, struct hm_str s)
{
	size_t i = 0, n;
	char c[HM_CASE_MAX];

	while (i < s.len) {
		size_t start = i;

		if (memchr(" \t\r\n", s.p[i], 4)) {
			if (!hm_text_putc(t, s.p[i++]))
				return false;
			continue;
		}
		while (i < s.len && !memchr(" \t\r\n", s.p[i], 4))
			i++;
		/* as in Java, half of a surrogate pair is the first character, and has no case */
		if (!hm_text_put(t, decode(s, start, &n) >= 0x10000
					    ? hm_str_n(s.p + start, n)
					    : hm_str_n(c, hm_upper(decode(s, start, &n), c))) ||
		    !put_lower(t, hm_str_n(s.p + start + n, i - start - n)))
			return false;
	}
	return true;
}

int hm_bi_capitalize(ARGS)
{
	return change_case(vm, v, put_capitalized, r);
}

/* -- length, pieces --------------------------------------------------------------------------- */

int hm_bi_trim(ARGS)
{
	struct hm_str s;
	int rc = target(vm, v, &s);

	if (rc)
		return rc;
	while (s.len && (unsigned char)s.p[0] <= ' ')
		s = hm_str_n(s.p + 1, s.len - 1);
	while (s.len && (unsigned char)s.p[s.len - 1] <= ' ')
		s.len--;
	*r = hm_vstr(s);
	return 0;
}

int hm_bi_length(ARGS)
{
	struct hm_str s;
	int rc = target(vm, v, &s);

	if (rc == 0)
		*r = hm_vint((int64_t)hm_utf8_utf16_units(s));
	return rc;
}

/* Byte offset of a UTF-16 position in 0..length */
static size_t offset(struct hm_str s, int64_t unit)
{
	size_t i = 0, n;
	int64_t u = 0;

	while (i < s.len && u < unit) {
		u += decode(s, i, &n) >= 0x10000 ? 2 : 1;
		if (u > unit)
			break;
		i += n;
	}
	return i;
}

int hm_bi_substring(ARGS)
{
	struct hm_str s;
	int64_t from, to, len;
	size_t a, z;
	int rc = target(vm, v, &s);

	if (rc == 0)
		rc = hm_v_int(vm, v[1], &from);
	if (rc)
		return rc;
	len = (int64_t)hm_utf8_utf16_units(s);
	to = len;
	if (nargs > 1 && (rc = hm_v_int(vm, v[2], &to)))
		return rc;
	if (from < 0 || to < 0 || from > to || to > len)
		return hm_vm_fail(vm, HM_EINVAL,
				  "?substring(%lld, %lld) does not fit a text of %lld characters",
				  (long long)from, (long long)to, (long long)len);
	a = offset(s, from);
	z = offset(s, to);
	*r = hm_vstr(hm_str_n(s.p + a, z - a));
	return 0;
}

int hm_bi_chop_linebreak(ARGS)
{
	struct hm_str s;
	int rc = target(vm, v, &s);

	if (rc)
		return rc;
	if (hm_str_ends(s, HM_STR("\r\n")))
		s.len -= 2;
	else if (hm_str_ends(s, HM_STR("\n")) || hm_str_ends(s, HM_STR("\r")))
		s.len--;
	*r = hm_vstr(s);
	return 0;
}

int hm_bi_word_list(ARGS)
{
	struct hm_str s;
	size_t i = 0;
	int rc = target(vm, v, &s);

	if (rc == 0)
		rc = hm_v_seq_new(vm, 0, r);
	while (rc == 0 && i < s.len) {
		size_t start = i;

		while (i < s.len && !memchr(" \t\n\r\f", s.p[i], 5))
			i++;
		if (i > start)
			rc = hm_v_seq_put(vm, *r, hm_vstr(hm_str_n(s.p + start, i - start)));
		i++;
	}
	return rc;
}

/* -- searching ------------------------------------------------------------------------------------- */

/* Does needle stand at byte i? Returns its length there, or -1. fold: without regard to case. */
static ptrdiff_t match_at(struct hm_str s, size_t i, struct hm_str needle, bool fold)
{
	size_t a = i, k = 0, na, nk;

	if (!fold)
		return s.len - i >= needle.len &&
				       (needle.len == 0 || memcmp(s.p + i, needle.p, needle.len) == 0)
			       ? (ptrdiff_t)needle.len
			       : -1;
	while (k < needle.len) {
		if (a >= s.len || hm_lower_cp(decode(s, a, &na)) != hm_lower_cp(decode(needle, k, &nk)))
			return -1;
		a += na;
		k += nk;
	}
	return (ptrdiff_t)(a - i);
}

/* First match at or after byte `from`; -1: none. *len: of the match. */
static ptrdiff_t find(struct hm_str s, size_t from, struct hm_str needle, bool fold, size_t *len)
{
	size_t i = from, n = 1;

	if (!fold) {
		ptrdiff_t at = needle.len == 0 ? 0 : hm_str_find(hm_str_n(s.p + from, s.len - from), needle);

		*len = needle.len;
		return at < 0 ? -1 : at + (ptrdiff_t)from;
	}
	for (; i <= s.len; i += n) {
		ptrdiff_t l = match_at(s, i, needle, fold);

		if (l >= 0) {
			*len = (size_t)l;
			return (ptrdiff_t)i;
		}
		if (i == s.len)
			break;
		decode(s, i, &n);
	}
	return -1;
}

/* Last match that begins at or before byte `from`; -1: none. */
static ptrdiff_t find_last(struct hm_str s, size_t from, struct hm_str needle, bool fold, size_t *len)
{
	size_t i = hm_min(from, s.len);

	for (;;) {
		ptrdiff_t l = match_at(s, i, needle, fold);

		if (l >= 0) {
			*len = (size_t)l;
			return (ptrdiff_t)i;
		}
		if (i == 0)
			return -1;
		i--;
		while (i > 0 && ((unsigned char)s.p[i] & 0xC0) == 0x80)
			i--;
	}
}

/* Searching costs length x needle in the worst case; the limit of steps has to know. */
static int charge(struct hm_vm *vm, struct hm_str s, struct hm_str needle)
{
	return hm_vm_step(vm, (uint64_t)(s.len >> 6) * (1 + (needle.len >> 4)));
}

/*
 * Flags of ?replace, ?split and others: i f; r is not in the language. The other flags of FreeMarker, m s c,
 * belong to regular expressions: some built-ins refuse them without r (strict). More letters say nothing.
 */
static int flags(struct hm_vm *vm, struct hm_val v, bool strict, bool *fold, bool *first)
{
	struct hm_str s;
	int rc = strict ? hm_v_string_arg(vm, v, &s) : hm_v_text(vm, v, &s);

	for (size_t i = 0; rc == 0 && i < s.len; i++) {
		if (s.p[i] == 'i')
			*fold = true;
		else if (s.p[i] == 'f')
			*first = true;
		else if (s.p[i] == 'r')
			return hm_vm_fail(vm, HM_EINVAL,
					  "regular expressions (flag r) are not part of this language");
		else if (strict && memchr("msc", s.p[i], 3))
			return hm_vm_fail(vm, HM_EINVAL, "the flag %c is for regular expressions only",
					  s.p[i]);
	}
	return rc;
}

static int two(struct hm_vm *vm, const struct hm_val *v, struct hm_str *s, struct hm_str *x)
{
	int rc = target(vm, v, s);

	if (rc == 0)
		rc = hm_v_string_arg(vm, v[1], x);
	return rc ? rc : charge(vm, *s, *x);
}

/* As two(), for the built-ins that take a number for a string. */
static int two_texts(struct hm_vm *vm, const struct hm_val *v, struct hm_str *s, struct hm_str *x)
{
	int rc = target(vm, v, s);

	if (rc == 0)
		rc = hm_v_text(vm, v[1], x);
	return rc ? rc : charge(vm, *s, *x);
}

int hm_bi_contains(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc == 0)
		*r = hm_vbool(x.len == 0 || hm_str_find(s, x) >= 0);
	return rc;
}

int hm_bi_starts_with(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc == 0)
		*r = hm_vbool(hm_str_starts(s, x));
	return rc;
}

int hm_bi_ends_with(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc == 0)
		*r = hm_vbool(hm_str_ends(s, x));
	return rc;
}

static int index_of(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, bool last, struct hm_val *r)
{
	struct hm_str s, x;
	int64_t from = last ? INT64_MAX : 0;
	ptrdiff_t at;
	size_t len;
	int rc = two(vm, v, &s, &x);

	if (rc == 0 && nargs > 1)
		rc = hm_v_int(vm, v[2], &from);
	if (rc)
		return rc;
	if (last)
		at = from < 0 ? -1 : find_last(s, offset(s, from), x, false, &len);
	else
		at = find(s, offset(s, hm_max(from, (int64_t)0)), x, false, &len);
	*r = hm_vint(at < 0 ? -1 : (int64_t)hm_utf8_utf16_units(hm_str_n(s.p, (size_t)at)));
	return 0;
}

int hm_bi_index_of(ARGS)
{
	return index_of(vm, v, nargs, false, r);
}

int hm_bi_last_index_of(ARGS)
{
	return index_of(vm, v, nargs, true, r);
}

int hm_bi_replace(ARGS)
{
	struct hm_text t = {.vm = vm};
	struct hm_str s, x, y;
	bool fold = false, first = false;
	size_t i = 0, len, n = 1;
	ptrdiff_t at;
	int rc = two_texts(vm, v, &s, &x);

	if (rc == 0)
		rc = hm_v_text(vm, v[2], &y);
	if (rc == 0 && nargs > 2)
		rc = flags(vm, v[3], false, &fold, &first);
	if (rc)
		return rc;
	if (x.len == 0) { /* between all characters, and at both ends */
		if (!hm_text_put(&t, y))
			return vm->rc;
		for (; i < s.len; i += n) {
			decode(s, i, &n);
			if (!hm_text_put(&t, hm_str_n(s.p + i, n)) || (!first && !hm_text_put(&t, y)))
				return vm->rc;
		}
		*r = hm_text_val(&t);
		return 0;
	}
	while ((at = find(s, i, x, fold, &len)) >= 0) {
		if (!hm_text_put(&t, hm_str_n(s.p + i, (size_t)at - i)) || !hm_text_put(&t, y))
			return vm->rc;
		i = (size_t)at + len;
		if (first)
			break;
	}
	if (i == 0 && !t.p) {
		*r = hm_vstr(s);
		return 0;
	}
	if (!hm_text_put(&t, hm_str_n(s.p + i, s.len - i)))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_split(ARGS)
{
	struct hm_str s, x;
	bool fold = false, first = false;
	size_t i = 0, len, n;
	ptrdiff_t at;
	int rc = two_texts(vm, v, &s, &x);

	if (rc == 0 && nargs > 1)
		rc = flags(vm, v[2], false, &fold, &first);
	if (rc == 0)
		rc = hm_v_seq_new(vm, 0, r);
	if (x.len == 0) {
		for (; rc == 0 && i < s.len; i += n) {
			decode(s, i, &n);
			rc = hm_v_seq_put(vm, *r, hm_vstr(hm_str_n(s.p + i, n)));
		}
		return rc;
	}
	while (rc == 0 && (at = find(s, i, x, fold, &len)) >= 0) {
		rc = hm_v_seq_put(vm, *r, hm_vstr(hm_str_n(s.p + i, (size_t)at - i)));
		i = (size_t)at + len;
	}
	return rc ? rc : hm_v_seq_put(vm, *r, hm_vstr(hm_str_n(s.p + i, s.len - i)));
}

/* -- keeping and removing ends ------------------------------------------------------------------------- */

static int keep(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, bool last, bool after,
		struct hm_val *r)
{
	struct hm_str s, x;
	bool fold = false, first = false;
	size_t len = 0;
	ptrdiff_t at;
	int rc = two(vm, v, &s, &x);

	if (rc == 0 && nargs > 1)
		rc = flags(vm, v[2], true, &fold, &first);
	if (rc)
		return rc;
	at = last ? find_last(s, s.len, x, fold, &len) : find(s, 0, x, fold, &len);
	if (at < 0)
		s = after ? HM_STR("") : s;
	else if (after)
		s = hm_str_n(s.p + at + len, s.len - (size_t)at - len);
	else
		s = hm_str_n(s.p, (size_t)at);
	*r = hm_vstr(s);
	return 0;
}

int hm_bi_keep_before(ARGS)
{
	return keep(vm, v, nargs, false, false, r);
}

int hm_bi_keep_after(ARGS)
{
	return keep(vm, v, nargs, false, true, r);
}

int hm_bi_keep_before_last(ARGS)
{
	return keep(vm, v, nargs, true, false, r);
}

int hm_bi_keep_after_last(ARGS)
{
	return keep(vm, v, nargs, true, true, r);
}

int hm_bi_remove_beginning(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc == 0)
		*r = hm_vstr(hm_str_starts(s, x) ? hm_str_n(s.p + x.len, s.len - x.len) : s);
	return rc;
}

int hm_bi_remove_ending(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc == 0)
		*r = hm_vstr(hm_str_ends(s, x) ? hm_str_n(s.p, s.len - x.len) : s);
	return rc;
}

static int glue(struct hm_vm *vm, struct hm_str a, struct hm_str z, struct hm_val *r)
{
	struct hm_text t = {.vm = vm};

	if (!hm_text_put(&t, a) || !hm_text_put(&t, z))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_ensure_starts_with(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc)
		return rc;
	if (hm_str_starts(s, x)) {
		*r = hm_vstr(s);
		return 0;
	}
	return glue(vm, x, s, r);
}

int hm_bi_ensure_ends_with(ARGS)
{
	struct hm_str s, x;
	int rc = two(vm, v, &s, &x);

	if (rc)
		return rc;
	if (hm_str_ends(s, x)) {
		*r = hm_vstr(s);
		return 0;
	}
	return glue(vm, s, x, r);
}

/* -- padding ------------------------------------------------------------------------------------------------ */

/* Characters from..from+n of the filling repeated for ever (UTF-16 positions; whole characters only) */
static bool put_filling(struct hm_text *t, struct hm_str fill, int64_t fill_units, int64_t from, int64_t n)
{
	size_t i = offset(fill, from % fill_units), len;

	while (n > 0) {
		uint32_t cp;

		if (i >= fill.len)
			i = 0;
		cp = decode(fill, i, &len);
		if (!hm_text_put(t, hm_str_n(fill.p + i, len)))
			return false;
		i += len;
		n -= cp >= 0x10000 ? 2 : 1;
	}
	return true;
}

static int pad(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, bool left, struct hm_val *r)
{
	struct hm_text t = {.vm = vm};
	struct hm_str s, fill = HM_STR(" ");
	int64_t want, have, units;
	int rc = target(vm, v, &s);

	if (rc == 0)
		rc = hm_v_int(vm, v[1], &want);
	if (rc == 0 && nargs > 1)
		rc = hm_v_string_arg(vm, v[2], &fill);
	if (rc)
		return rc;
	have = (int64_t)hm_utf8_utf16_units(s);
	if (want <= have) {
		*r = hm_vstr(s);
		return 0;
	}
	units = (int64_t)hm_utf8_utf16_units(fill);
	if (units == 0)
		return hm_vm_fail(vm, HM_EINVAL, "the filling of ?%s_pad is empty", left ? "left" : "right");
	if (want > (int64_t)vm->max_memory)
		return hm_vm_fail(vm, HM_ELIMIT, "the template needs more than %zu bytes of memory",
				  vm->max_memory);
	rc = hm_vm_step(vm, (uint64_t)(want - have) >> 4);
	if (rc)
		return rc;
	/* to the right the filling is aligned with the beginning of the text */
	if (left ? !(put_filling(&t, fill, units, 0, want - have) && hm_text_put(&t, s))
		 : !(hm_text_put(&t, s) && put_filling(&t, fill, units, have, want - have)))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_left_pad(ARGS)
{
	return pad(vm, v, nargs, true, r);
}

int hm_bi_right_pad(ARGS)
{
	return pad(vm, v, nargs, false, r);
}

/* -- ?truncate: FreeMarker's default algorithm, on UTF-16 units --------------------------------------------- */

struct cut { /* the text as code units; the second half of a pair is 0xFFFF */
	const uint32_t *u;
	int64_t len;
	bool dots; /* the terminator swallows dots in front of it */
};

static bool cut_dot(const struct cut *c, int64_t i)
{
	return c->u[i] == '.' || c->u[i] == 0x2026;
}

static bool cut_white(const struct cut *c, int64_t i)
{
	return hm_is_white(c->u[i]);
}

static int64_t skip_white(const struct cut *c, int64_t i)
{
	while (i >= 0 && cut_white(c, i))
		i--;
	return i;
}

static bool word_end(const struct cut *c, int64_t i)
{
	return i + 1 >= c->len || cut_white(c, i + 1);
}

/* Last unit to keep when cutting at a word; -1: none fits. */
static int64_t cut_at_word(const struct cut *c, int64_t max, int64_t term, int64_t last, bool any)
{
	int64_t word_term = term + 1, floor75 = (max * 3 + 3) / 4; /* ceil(max * 0.75) */
	int64_t min = any ? 0 : hm_max(floor75 - word_term - 1, (int64_t)0);
	int64_t i = hm_min(max - word_term - 1, last);
	bool white_after;

	if (i < 0)
		return -1;
	white_after = i + 1 < c->len ? cut_white(c, i + 1) : true;
	for (; i >= min; i--) {
		bool white = cut_white(c, i);

		if (!white && white_after)
			return i;
		white_after = white;
	}
	return -1;
}

static int64_t cut_at_char(const struct cut *c, int64_t initial, int64_t last)
{
	bool again;

	if (last == initial && word_end(c, last)) {
		last--;
		if (last < 0)
			return -1;
	}
	do {
		again = false;
		last = skip_white(c, last);
		if (last < 0)
			return -1;
		if (cut_dot(c, last) && !word_end(c, last) && c->dots) {
			while (last >= 0 && cut_dot(c, last))
				last--;
			if (last < 0)
				return -1;
			again = true;
		}
	} while (again);
	return last;
}

enum truncate { AUTO, CHARS, WORDS };

static int truncated(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, enum truncate mode,
		     struct hm_val *r)
{
	struct hm_str s, term = HM_STR("[...]");
	struct hm_text t = {.vm = vm};
	int64_t max, term_len, initial, last, keep_to = -1;
	struct cut c = {0};
	uint32_t *u;
	size_t i, n;
	bool space = false;
	int rc = target(vm, v, &s);

	if (rc == 0)
		rc = hm_v_int(vm, v[1], &max);
	if (rc)
		return rc;
	if (max < 0)
		return hm_vm_fail(vm, HM_EINVAL, "?truncate to a negative length");
	if (nargs > 1 && (rc = hm_v_string_arg(vm, v[2], &term)))
		return rc;
	term_len = (int64_t)hm_utf8_utf16_units(term);
	if (nargs > 2 && (rc = hm_v_int(vm, v[3], &term_len)))
		return rc;
	if (term_len < 0)
		return hm_vm_fail(vm, HM_EINVAL, "the terminator of ?truncate has a negative length");
	if ((int64_t)hm_utf8_utf16_units(s) <= max) {
		*r = hm_vstr(s);
		return 0;
	}
	if (nargs > 1)
		c.dots = hm_str_starts(term, HM_STR(".")) || hm_str_starts(term, HM_STR("\xe2\x80\xa6"));
	u = hm_vm_alloc(vm, (s.len + 1) * sizeof(*u));
	if (!u)
		return vm->rc;
	for (i = 0; i < s.len; i += n) {
		u[c.len++] = decode(s, i, &n);
		if (u[c.len - 1] >= 0x10000)
			u[c.len++] = 0xFFFF;
	}
	c.u = u;
	initial = max - hm_min(term_len, max + 1) - 1;
	last = initial < 0 ? -1 : skip_white(&c, initial);
	if (last >= 0 && mode != CHARS) {
		keep_to = cut_at_word(&c, max, term_len, last, mode == WORDS);
		space = keep_to >= 0;
	}
	if (last >= 0 && keep_to < 0 && mode != WORDS) {
		keep_to = cut_at_char(&c, initial, last);
		space = keep_to >= 0 && word_end(&c, keep_to);
	}
	if (keep_to >= 0) {
		if (!hm_text_put(&t, hm_str_n(s.p, offset(s, keep_to + 1))) ||
		    (space && !hm_text_putc(&t, ' ')))
			return vm->rc;
	}
	if (!hm_text_put(&t, term))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_truncate(ARGS)
{
	return truncated(vm, v, nargs, AUTO, r);
}

int hm_bi_truncate_c(ARGS)
{
	return truncated(vm, v, nargs, CHARS, r);
}

int hm_bi_truncate_w(ARGS)
{
	return truncated(vm, v, nargs, WORDS, r);
}
