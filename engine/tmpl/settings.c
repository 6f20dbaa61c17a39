/* settings.c - <#setting name=value>: from here on, for the rest of the render */
#include "tmpl/datetime.h"
#include "tmpl/numfmt.h"
#include "tmpl/vm.h"

static int set_number_format(struct hm_vm *vm, struct hm_str s)
{
	struct hm_numfmt *f;

	vm->number_format = s;
	if (hm_str_is(s, "computer")) {
		vm->number = NULL;
		return 0;
	}
	f = hm_vm_alloc(vm, sizeof(*f));
	if (!f)
		return vm->rc;
	if (!hm_numfmt_parse(s, vm->zh, f))
		*f = (struct hm_numfmt){.malformed = true};
	vm->number = f;
	return 0;
}

static int set_boolean_format(struct hm_vm *vm, struct hm_str s)
{
	ptrdiff_t comma = hm_str_chr(s, ',');

	if (hm_str_is(s, "true,false")) { /* the default, which is not for printing */
		vm->has_boolean = false;
		vm->yes = vm->no = HM_STR_NULL;
		return 0;
	}
	if (hm_str_is(s, "c")) {
		vm->yes = HM_STR("true");
		vm->no = HM_STR("false");
		vm->has_boolean = true;
		return 0;
	}
	if (comma < 0)
		return hm_vm_fail(vm, HM_EINVAL, "boolean_format needs two words with a comma in between");
	vm->yes = hm_str_n(s.p, (size_t)comma);
	vm->no = hm_str_n(s.p + comma + 1, s.len - (size_t)comma - 1);
	vm->has_boolean = true;
	return 0;
}

int hm_vm_setting(struct hm_vm *vm, unsigned setting, struct hm_val v)
{
	struct hm_str s;
	int rc;

	if (v.kind == V_BOOL) {
		s = v.u.i ? HM_STR("true") : HM_STR("false");
	} else {
		rc = hm_v_text(vm, v, &s);
		if (rc)
			return rc;
	}
	switch ((enum hm_setting)setting) {
	case SETTING_NUMBER_FORMAT: return set_number_format(vm, s);
	case SETTING_BOOLEAN_FORMAT: return set_boolean_format(vm, s);
	case SETTING_DATE_FORMAT: vm->date_format[DATE_DATE - 1] = s; return 0;
	case SETTING_TIME_FORMAT: vm->date_format[DATE_TIME - 1] = s; return 0;
	case SETTING_DATETIME_FORMAT: vm->date_format[DATE_DATETIME - 1] = s; return 0;
	case SETTING_TIME_ZONE:
		if (!hm_zone_find(s, &vm->zone))
			return hm_vm_fail(vm, HM_EINVAL, "the time zone \"%.*s\" is not known",
					  HM_STRF(hm_str_n(s.p, hm_utf8_cut(s, 60))));
		return 0;
	case SETTING_LOCALE:
		vm->locale = s;
		vm->zh = hm_str_starts(s, HM_STR("zh"));
		return vm->number ? set_number_format(vm, vm->number_format)
				  : 0; /* its currency sign may change */
	case SETTING_COUNT: break;
	}
	hm_unreachable();
}
