/*
 * ledger_args.c - find and open the ledger; print texts and numbers in columns
 */
#include <inttypes.h>
#include <stdio.h>
#include <wchar.h>

#include "cli/ledger_args.h"
#include "config/config.h"

void hm_ledger_args_init(struct hm_ledger_args *a)
{
	hm_conf_args_init(&a->conf);
	a->data_dir = NULL;
}

bool hm_ledger_args_take(struct hm_ledger_args *a, int argc, char **argv, int *i, bool *bad)
{
	return hm_option_take("--data-dir", &a->data_dir, argc, argv, i, bad) ||
	       hm_conf_args_take(&a->conf, argc, argv, i, bad);
}

static void print_problem(void *arg, const struct hm_err *e)
{
	char text[640];

	hm_err_format(e, text, sizeof(text));
	fprintf(stderr, "hermod: %s\n", text);
}

int hm_ledger_args_open(const struct hm_ledger_args *a, struct hm_ledger **l_r)
{
	struct hm_config *cfg;
	struct hm_err e = {.code = 0};
	char dir[2048];

	if (a->data_dir) {
		snprintf(dir, sizeof(dir), "%s/ledger", a->data_dir);
	} else {
		if (hm_config_load(a->conf.path, a->conf.sets, &cfg, print_problem, NULL) < 0)
			return 2;
		if (cfg->settings.ledger.dir.len)
			snprintf(dir, sizeof(dir), "%s", cfg->settings.ledger.dir.p);
		else
			snprintf(dir, sizeof(dir), "%s/ledger", cfg->settings.node.data_dir.p);
		hm_config_unref(cfg);
	}
	if (hm_ledger_open_readonly(hm_str_c(dir), l_r, &e) < 0) {
		print_problem(NULL, &e);
		return 1;
	}
	return 0;
}

static size_t char_width(uint32_t cp)
{
	int w = wcwidth((wchar_t)cp);

	return w > 0 ? (size_t)w : 0; /* a control character takes no room: it is not printed */
}

size_t hm_text_width(struct hm_str s)
{
	size_t width = 0, n;

	while (s.len) {
		width += char_width(hm_utf8_decode(s, &n));
		s.p += n;
		s.len -= n;
	}
	return width;
}

void hm_print_padded(struct hm_str s, size_t width)
{
	bool cut = hm_text_width(s) > width;
	size_t room = cut ? width - 1 : width, used = 0, n;

	while (s.len) {
		uint32_t cp = hm_utf8_decode(s, &n);
		size_t w = char_width(cp);
		char utf8[4];

		if (used + w > room)
			break;
		if (w)
			fwrite(utf8, 1, hm_utf8_encode(cp, utf8), stdout);
		used += w;
		s.p += n;
		s.len -= n;
	}
	if (cut) {
		fputs("…", stdout);
		used++;
	}
	printf("%*s", (int)(width - used), "");
}

size_t hm_number_text(uint64_t v, char out[32])
{
	char digits[24];
	size_t n = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, v), at = 0;

	for (size_t i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return at;
}

void hm_print_number(uint64_t v, size_t width)
{
	char text[32];

	hm_number_text(v, text);
	printf("%*s", (int)width, text);
}
