/* builtins_date.c - ?date ?time ?datetime, ?number_to_..., ?iso... */
#include "tmpl/datetime.h"
#include "tmpl/vm.h"

#define ARGS struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b, struct hm_val *r

static struct hm_val date_val(enum hm_date_kind kind, int64_t ms)
{
	return (struct hm_val){.kind = V_DATE, .aux = (uint8_t)kind, .u.i = ms};
}

static int to_date(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, unsigned b,
		   enum hm_date_kind kind, struct hm_val *r)
{
	struct hm_str s, pattern = HM_STR_NULL;
	struct hm_iso_opts o = {0};
	bool bad = false, ok;
	int64_t ms = 0;
	int rc;

	if (v[0].kind == V_DATE && nargs > 0)
		return hm_vm_wrong(vm, v[0], "text");
	if (b == 1 && nargs == 1 && (hm_v_is_num(v[1]) || v[1].kind == V_RANGE)) {
		struct hm_val date, text; /* x?date[0] is a character of the date's text */

		rc = to_date(vm, v, 0, 0, kind, &date);
		if (rc == 0)
			rc = hm_bi_string(vm, &date, 0, 0, &text);
		return rc ? rc : hm_v_index(vm, text, v[1], r);
	}
	if (v[0].kind == V_DATE) {
		if (v[0].aux != DATE_DATETIME && v[0].aux != kind)
			return hm_vm_fail(vm, HM_EINVAL, "%s cannot be made %s", hm_v_kind_name(v[0]),
					  hm_v_kind_name(date_val(kind, 0)));
		*r = date_val(kind, v[0].u.i);
		r->len = v[0].aux == kind ? v[0].len : 0;
		return 0;
	}
	rc = hm_v_text(vm, v[0], &s);
	if (rc == 0 && nargs > 0)
		rc = hm_v_string_arg(vm, v[1], &pattern);
	if (rc)
		return rc;
	if (nargs == 0)
		pattern = vm->date_format[kind - 1];
	if (pattern.p && pattern.len == 0)
		pattern = hm_date_medium(kind, vm->zh);
	if (!pattern.p || hm_iso_name(pattern, &o))
		ok = hm_date_parse_iso(s, kind, o, vm->zone, &ms);
	else
		ok = hm_date_parse_pattern(s, pattern, vm->zone, vm->zh, &ms, &bad);
	if (bad)
		return hm_vm_fail(vm, HM_EINVAL, "the date pattern \"%.*s\" is malformed", HM_STRF(pattern));
	if (!ok)
		return hm_vm_fail(vm, HM_EINVAL, "\"%.*s\" is not %s in the expected form",
				  HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 60))),
				  hm_v_kind_name(date_val(kind, 0)));
	*r = date_val(kind, ms);
	r->len = nargs == 0;
	return 0;
}

int hm_bi_date(ARGS)
{
	return to_date(vm, v, nargs, b, DATE_DATE, r);
}

int hm_bi_time(ARGS)
{
	return to_date(vm, v, nargs, b, DATE_TIME, r);
}

int hm_bi_datetime(ARGS)
{
	return to_date(vm, v, nargs, b, DATE_DATETIME, r);
}

static int from_number(struct hm_vm *vm, const struct hm_val *v, enum hm_date_kind kind, struct hm_val *r)
{
	struct hm_dec d;
	int64_t ms;
	int rc = hm_v_number(vm, v[0], &d);

	if (rc)
		return rc;
	if (!hm_dec_fits_i64(hm_dec_round(d, 0, HM_ROUND_HALF_UP), &ms) || ms > 253402300799999 ||
	    ms < -62135596800000)
		return hm_vm_fail(vm, HM_EINVAL, "the number is outside of the years 1 to 9999");
	*r = date_val(kind, ms);
	return 0;
}

int hm_bi_number_to_date(ARGS)
{
	return from_number(vm, v, DATE_DATE, r);
}

int hm_bi_number_to_time(ARGS)
{
	return from_number(vm, v, DATE_TIME, r);
}

int hm_bi_number_to_datetime(ARGS)
{
	return from_number(vm, v, DATE_DATETIME, r);
}

/* -- ?iso_utc and its kin: the name tells accuracy and zone ------------------------------- */

static int iso(struct hm_vm *vm, const struct hm_val *v, unsigned nargs, bool local, struct hm_iso_opts o,
	       struct hm_val *r)
{
	struct hm_buf out;
	struct hm_str name;
	struct hm_zone zone = local ? vm->zone : (struct hm_zone){0};
	int rc;

	if (v[0].kind != V_DATE)
		return hm_vm_wrong(vm, v[0], "a date");
	if (nargs > 0) {
		rc = hm_v_string_arg(vm, v[1], &name);
		if (rc)
			return rc;
		if (!hm_zone_find(name, &zone))
			return hm_vm_fail(vm, HM_EINVAL, "the time zone \"%.*s\" is not known",
					  HM_STRF(hm_str_n(name.p, hm_utf8_cut(name, 60))));
	}
	hm_buf_init_arena(&out, vm->arena, 256);
	hm_date_put_iso(&out, v[0].aux, v[0].u.i, zone, o);
	if (out.err)
		return hm_vm_fail(vm, HM_ENOMEM, "out of memory while rendering");
	*r = hm_vstr(hm_buf_str(&out));
	return 0;
}

#define ISO(name, local, accurate, nz)                                                                     \
	int hm_bi_##name(ARGS)                                                                             \
	{                                                                                                  \
		return iso(vm, v, nargs, local, (struct hm_iso_opts){.accuracy = accurate, .no_zone = nz}, \
			   r);                                                                             \
	}

ISO(iso_utc, false, ISO_SECONDS, false)
ISO(iso_utc_nz, false, ISO_SECONDS, true)
ISO(iso_utc_ms, false, ISO_MS, false)
ISO(iso_utc_ms_nz, false, ISO_MS, true)
ISO(iso_utc_m, false, ISO_MINUTES, false)
ISO(iso_utc_m_nz, false, ISO_MINUTES, true)
ISO(iso_utc_h, false, ISO_HOURS, false)
ISO(iso_utc_h_nz, false, ISO_HOURS, true)
ISO(iso_local, true, ISO_SECONDS, false)
ISO(iso_local_nz, true, ISO_SECONDS, true)
ISO(iso_local_ms, true, ISO_MS, false)
ISO(iso_local_ms_nz, true, ISO_MS, true)
ISO(iso_local_m, true, ISO_MINUTES, false)
ISO(iso_local_m_nz, true, ISO_MINUTES, true)
ISO(iso_local_h, true, ISO_HOURS, false)
ISO(iso_local_h_nz, true, ISO_HOURS, true)
ISO(iso, true, ISO_SECONDS, false)
ISO(iso_nz, true, ISO_SECONDS, true)
ISO(iso_ms, true, ISO_MS, false)
ISO(iso_ms_nz, true, ISO_MS, true)
ISO(iso_m, true, ISO_MINUTES, false)
ISO(iso_m_nz, true, ISO_MINUTES, true)
ISO(iso_h, true, ISO_HOURS, false)
ISO(iso_h_nz, true, ISO_HOURS, true)
ISO(iso_utc_fz, false, ISO_SECONDS, false)
