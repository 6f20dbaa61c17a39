/* builtins_num.c - numbers, conversions, ?is_... */
#include "tmpl/datetime.h"
#include "tmpl/numfmt.h"
#include "tmpl/vm.h"

#define ARGS struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r

/* -- rounding ------------------------------------------------------------------------------ */

static int rounded(struct hm_vm *vm, const struct hm_val *v, enum hm_dec_round how, struct hm_val *r)
{
	struct hm_dec d;
	int rc = hm_v_number(vm, v[0], &d);

	if (rc)
		return rc;
	if (!hm_dec_round_double(d, how, &d))
		return hm_vm_fail(vm, HM_EINVAL, "the number is too large to be rounded");
	return hm_v_dec_new(vm, d, r);
}

int hm_bi_floor(ARGS)
{
	return rounded(vm, v, HM_ROUND_FLOOR, r);
}

int hm_bi_ceiling(ARGS)
{
	return rounded(vm, v, HM_ROUND_CEILING, r);
}

int hm_bi_int(ARGS) /* of 32 bits, as in FreeMarker */
{
	int64_t n;
	int rc = hm_v_int(vm, v[0], &n);

	*r = hm_vint(n);
	return rc;
}

int hm_bi_long(ARGS)
{
	struct hm_dec d;
	int rc;

	if (v[0].kind == V_DATE) {
		*r = hm_vint(v[0].u.i);
		return 0;
	}
	rc = hm_v_number(vm, v[0], &d);
	if (rc == 0)
		*r = hm_vint(hm_dec_to_i64(d));
	return rc;
}

int hm_bi_round(ARGS)
{
	return rounded(vm, v, HM_ROUND_HALF_UP, r);
}

int hm_bi_abs(ARGS)
{
	struct hm_dec d;
	int rc = hm_v_number(vm, v[0], &d);

	if (rc)
		return rc;
	if (d.coef < 0)
		d.coef = -d.coef;
	return hm_v_dec_new(vm, d, r);
}

static int never(struct hm_vm *vm, const struct hm_val *v, struct hm_val *r) /* decimals are always finite */
{
	struct hm_dec d;

	*r = hm_vbool(false);
	return hm_v_number(vm, v[0], &d);
}

int hm_bi_is_nan(ARGS)
{
	return never(vm, v, r);
}

int hm_bi_is_infinite(ARGS)
{
	return never(vm, v, r);
}

/* 1 a, 26 z, 27 aa: digits without a zero */
static int abc(struct hm_vm *vm, const struct hm_val *v, char first, struct hm_val *r)
{
	struct hm_text t = {.vm = vm};
	char buf[40];
	struct hm_dec d;
	int64_t n;
	size_t i = sizeof(buf);
	int rc = hm_v_number(vm, v[0], &d);

	if (rc)
		return rc;
	if (hm_dec_cmp(d, hm_dec_round(d, 0, HM_ROUND_DOWN)) != 0 || !hm_dec_fits_i64(d, &n) || n <= 0 ||
	    n > INT32_MAX)
		return hm_vm_fail(vm, HM_EINVAL, "only whole numbers from 1 on can be written as letters");
	while (n > 0) {
		n--;
		buf[--i] = (char)(first + n % 26);
		n /= 26;
	}
	if (!hm_text_put(&t, hm_str_n(buf + i, sizeof(buf) - i)))
		return vm->rc;
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_lower_abc(ARGS)
{
	return abc(vm, v, 'a', r);
}

int hm_bi_upper_abc(ARGS)
{
	return abc(vm, v, 'A', r);
}

/* -- conversion --------------------------------------------------------------------------------- */

int hm_bi_c(ARGS)
{
	struct hm_text t = {.vm = vm};

	if (v[0].kind == V_BOOL) {
		*r = hm_vstr(v[0].u.i ? HM_STR("true") : HM_STR("false"));
		return 0;
	}
	if (!hm_v_is_num(v[0]))
		return hm_vm_wrong(vm, v[0], "a number or boolean");
	if (!hm_text_room(&t, HM_DEC_MAX_TEXT + 1))
		return vm->rc;
	t.len = hm_num_computer(hm_v_dec(v[0]), t.p);
	*r = hm_text_val(&t);
	return 0;
}

int hm_bi_number(ARGS)
{
	struct hm_str s;
	struct hm_dec d;
	int rc;

	if (hm_v_is_num(v[0])) {
		*r = v[0];
		return 0;
	}
	rc = hm_v_text(vm, v[0], &s);
	if (rc)
		return rc;
	if (!hm_dec_parse(s, &d))
		return hm_vm_fail(vm, HM_EINVAL, "\"%.*s\" is not a number",
				  HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 60))));
	return hm_v_dec_new(vm, d, r);
}

int hm_bi_boolean(ARGS) /* of text only, as in FreeMarker: a boolean has no text of its own */
{
	struct hm_str s;
	int rc;

	rc = hm_v_text(vm, v[0], &s);
	if (rc)
		return rc;
	if (!hm_str_is(s, "true") && !hm_str_is(s, "false"))
		return hm_vm_fail(vm, HM_EINVAL, "\"%.*s\" is neither true nor false",
				  HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 60))));
	*r = hm_vbool(s.len == 4);
	return 0;
}

static int number_string(struct hm_vm *vm, struct hm_val n, struct hm_str pattern, struct hm_val *r)
{
	struct hm_numfmt f;
	struct hm_buf out;

	if (!hm_numfmt_parse(pattern, vm->zh, &f))
		return hm_vm_fail(vm, HM_EINVAL, "the number pattern \"%.*s\" is malformed",
				  HM_STRF(hm_str_n(pattern.p, hm_utf8_cut(pattern, 60))));
	hm_buf_init_arena(&out, vm->arena, 4096);
	if (!hm_numfmt_put(&f, hm_v_dec(n), &out) || out.err)
		return hm_vm_fail(vm, HM_EINVAL, "the number is too large for the pattern");
	*r = hm_vstr(hm_buf_str(&out));
	return 0;
}

static int date_string(struct hm_vm *vm, struct hm_val d, struct hm_str pattern, struct hm_val *r)
{
	struct hm_iso_opts o = {0};
	struct hm_buf out;

	if (pattern.len == 0)
		pattern = hm_date_medium(d.aux, vm->zh);
	hm_buf_init_arena(&out, vm->arena, 4096);
	if (hm_iso_name(pattern, &o))
		hm_date_put_iso(&out, d.aux, d.u.i, vm->zone, o);
	else if (!hm_date_put_pattern(&out, pattern, d.u.i, vm->zone, vm->zh))
		return hm_vm_fail(vm, HM_EINVAL, "the date pattern \"%.*s\" is malformed",
				  HM_STRF(hm_str_n(pattern.p, hm_utf8_cut(pattern, 60))));
	if (out.err)
		return hm_vm_fail(vm, HM_ELIMIT, "the date pattern is too long");
	*r = hm_vstr(hm_buf_str(&out));
	return 0;
}

int hm_bi_string(ARGS)
{
	struct hm_str s, no;
	int rc;

	if (nargs == 1 && b == 1 && (v[0].kind == V_STR || hm_v_is_num(v[1]) || v[1].kind == V_RANGE)) {
		struct hm_val text; /* x?string[0] is a character of x?string */

		rc = hm_bi_string(vm, v, 0, 0, &text);
		return rc ? rc : hm_v_index(vm, text, v[1], r);
	}
	if (v[0].kind == V_BOOL && nargs == 0) {
		*r = hm_vstr(v[0].u.i ? (vm->yes.p ? vm->yes : HM_STR("true"))
				      : (vm->no.p ? vm->no : HM_STR("false")));
		r->aux = STR_CALLABLE;
		return 0;
	}
	if (v[0].kind == V_BOOL && nargs == 2) {
		rc = hm_v_text(vm, v[1], &s);
		if (rc == 0)
			rc = hm_v_text(vm, v[2], &no);
		if (rc == 0)
			*r = hm_vstr(v[0].u.i ? s : no);
		return rc;
	}
	if (nargs == 0) {
		rc = hm_v_text(vm, v[0], &s);
		if (rc)
			return rc;
		*r = hm_vstr(s);
		if (hm_v_is_num(v[0]) || v[0].kind == V_DATE)
			r->aux = STR_CALLABLE | STR_KEYED;
		return 0;
	}
	if (nargs == 1 && (hm_v_is_num(v[0]) || v[0].kind == V_DATE)) {
		rc = hm_v_text(vm, v[1], &s);
		if (rc)
			return rc;
		return v[0].kind == V_DATE ? date_string(vm, v[0], s, r) : number_string(vm, v[0], s, r);
	}
	if (hm_v_is_num(v[0]) || v[0].kind == V_DATE || v[0].kind == V_BOOL)
		return hm_vm_fail(vm, HM_EINVAL, "?string does not take %u arguments for %s", nargs,
				  hm_v_kind_name(v[0]));
	return hm_vm_wrong(vm, v[0], "a number, date or boolean");
}

/* -- missing values ----------------------------------------------------------------------------------- */

int hm_bi_has_content(ARGS)
{
	*r = hm_vbool(!hm_v_is_empty(v[0]));
	return 0;
}

int hm_bi_default(ARGS)
{
	unsigned i = 0;

	while (i < nargs && v[i].kind == V_NULL)
		i++;
	*r = v[i];
	return 0;
}

/* -- kinds ------------------------------------------------------------------------------------------------ */

#define KIND(name, cond)             \
	int hm_bi_##name(ARGS)       \
	{                            \
		*r = hm_vbool(cond); \
		return 0;            \
	}
#define IS(k) (v[0].kind == V_##k)

KIND(is_string, IS(STR) || IS(EMPTY))
KIND(is_number, hm_v_is_num(v[0]))
KIND(is_boolean, IS(BOOL))
KIND(is_sequence, hm_v_is_seq(v[0]))
KIND(is_indexable, hm_v_is_seq(v[0]))
KIND(is_enumerable, hm_v_is_seq(v[0]))
KIND(is_collection, IS(SEQ) && v[0].aux) /* ?keys and ?values */
KIND(is_collection_ex, false && IS(EMPTY))
KIND(is_hash, hm_v_is_hash(v[0]) || (IS(STR) && v[0].aux & STR_KEYED) || (IS(DATE) && v[0].len))
KIND(is_hash_ex, hm_v_is_hash(v[0]) && !IS(SCOPE))
KIND(is_macro, IS(MACRO))
KIND(is_directive, IS(MACRO))
KIND(is_method, IS(METHOD) || (IS(STR) && v[0].aux) || (IS(DATE) && v[0].len))
KIND(is_markup_output, IS(MARKUP))
KIND(is_date, IS(DATE))
KIND(is_date_like, IS(DATE))
KIND(is_date_only, IS(DATE) && v[0].aux == DATE_DATE)
KIND(is_time, IS(DATE) && v[0].aux == DATE_TIME)
KIND(is_datetime, IS(DATE) && v[0].aux == DATE_DATETIME)
KIND(is_unknown_date_like, false && IS(DATE))
