/*
 * report.c - hermod report: accepted = sent + failed + ... + pending, per campaign and in total
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/ledger_args.h"
#include "cli/report.h"
#include "cli/report_all.h"

#define NAME_MAX_WIDTH 32

static const struct column {
	const char *title;
	int state; /* -1 accepted, -2 pending */
} columns[] = {
	{"accepted", -1},
	{"sent", HM_ST_SENT},
	{"failed", HM_ST_FAILED},
	{"suppressed", HM_ST_SUPPRESSED},
	{"capped", HM_ST_CAPPED},
	{"expired", HM_ST_EXPIRED},
	{"cancelled", HM_ST_CANCELLED},
	{"pending", -2},
};

struct table {
	struct hm_arena arena;
	struct hm_ledger_balance *rows;
	size_t n, cap;
	const char *campaign; /* NULL = all */
	int rc;
};

static bool collect(void *arg, const struct hm_ledger_balance *b)
{
	struct table *t = arg;

	if (t->campaign && !hm_str_is(b->campaign, t->campaign))
		return true;
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct hm_ledger_balance *p = realloc(t->rows, cap * sizeof(*p));

		if (p == NULL) {
			t->rc = HM_ENOMEM;
			return false;
		}
		t->rows = p;
		t->cap = cap;
	}
	t->rows[t->n] = *b;
	t->rows[t->n].campaign = b->campaign.len ? hm_arena_str(&t->arena, b->campaign)
						 : HM_STR("(no campaign)");
	if (t->rows[t->n++].campaign.p == NULL)
		t->rc = HM_ENOMEM;
	return t->rc == 0;
}

static uint64_t cell(const struct hm_ledger_balance *b, const struct column *c)
{
	return c->state == -1	? b->accepted
	       : c->state == -2 ? b->pending
				: hm_ledger_balance_of(b, (enum hm_state)c->state);
}

static void widen(const struct hm_ledger_balance *b, size_t *width)
{
	char text[32];

	for (size_t c = 0; c < hm_countof(columns); c++)
		width[c] = hm_max(width[c], hm_number_text(cell(b, &columns[c]), text));
}

static void print_row(struct hm_str name, const struct hm_ledger_balance *b, size_t name_width,
		      const size_t *width)
{
	hm_print_padded(name, name_width);
	for (size_t c = 0; c < hm_countof(columns); c++) {
		fputs("  ", stdout);
		hm_print_number(cell(b, &columns[c]), width[c]);
	}
	if (!hm_ledger_balanced(b))
		fputs("  NOT BALANCED", stdout);
	putchar('\n');
}

static void print_line(size_t name_width, const size_t *width)
{
	size_t n = name_width;

	for (size_t c = 0; c < hm_countof(columns); c++)
		n += 2 + width[c];
	while (n--)
		fputs("─", stdout);
	putchar('\n');
}

static void print_sentence(const struct hm_ledger_balance *b)
{
	char text[32];

	printf("\n%s: ", hm_ledger_balanced(b) ? "balanced" : "NOT BALANCED");
	for (size_t c = 0; c < hm_countof(columns); c++) {
		hm_number_text(cell(b, &columns[c]), text);
		fputs(c == 0 ? "" : c > 1 ? " + " : hm_ledger_balanced(b) ? " = " : " is not ", stdout);
		printf("%s %s", columns[c].title, text);
	}
	if (b->by_state[HM_ST_DELIVERED]) {
		hm_number_text(b->by_state[HM_ST_DELIVERED], text);
		printf("; %s of the sent are known to be delivered", text);
	}
	putchar('\n');
	if (b->unknown_attempts) {
		hm_number_text(b->unknown_attempts, text);
		printf("%s attempts ended unknown: the answer was lost, they may have been delivered\n",
		       text);
	}
	if (b->replays) {
		hm_number_text(b->replays, text);
		printf("%s of the accepted are dead letters sent once more\n", text);
	}
	if (b->moved) {
		hm_number_text(b->moved, text);
		printf("%s accepted here are other nodes' now and counted there\n", text);
	}
	if (b->repeats) {
		hm_number_text(b->repeats, text);
		printf("%s messages ended twice; the first end counts\n", text);
	}
}

static void print_table(const struct table *t, const struct hm_ledger_balance *total)
{
	size_t width[hm_countof(columns)], name_width = hm_text_width(HM_STR("(no campaign)"));

	for (size_t c = 0; c < hm_countof(columns); c++)
		width[c] = strlen(columns[c].title);
	for (size_t i = 0; i < t->n; i++) {
		name_width = hm_max(name_width, hm_text_width(t->rows[i].campaign));
		widen(&t->rows[i], width);
	}
	widen(total, width);
	name_width = hm_min(name_width, (size_t)NAME_MAX_WIDTH);
	hm_print_padded(HM_STR("campaign"), name_width);
	for (size_t c = 0; c < hm_countof(columns); c++)
		printf("  %*s", (int)width[c], columns[c].title);
	putchar('\n');
	print_line(name_width, width);
	for (size_t i = 0; i < t->n; i++)
		print_row(t->rows[i].campaign, &t->rows[i], name_width, width);
	if (t->campaign == NULL) {
		if (t->n)
			print_line(name_width, width);
		print_row(HM_STR("total"), total, name_width, width);
	}
	print_sentence(t->campaign ? &t->rows[0] : total);
}

static bool json_row(void *arg, const struct hm_ledger_balance *b)
{
	struct hm_buf *out = arg;

	if (out->p[out->len - 1] == '}')
		hm_buf_putc(out, ',');
	hm_ledger_balance_json(b, false, out);
	return out->err == 0;
}

static int print_json(struct hm_ledger *l, const struct table *t, const struct hm_ledger_balance *total,
		      const char *verified, struct hm_err *e)
{
	struct hm_buf out;
	int rc = 0;

	hm_buf_init(&out, SIZE_MAX / 2);
	if (t->campaign) {
		hm_ledger_balance_json(&t->rows[0], false, &out);
	} else {
		hm_buf_lit(&out, "{\"total\":");
		hm_ledger_balance_json(total, true, &out);
		hm_buf_lit(&out, ",\"campaigns\":[");
		rc = hm_ledger_each_campaign(l, json_row, &out, e);
		hm_buf_putc(&out, ']');
		if (verified) {
			hm_buf_lit(&out, ",\"verified\":");
			hm_buf_puts(&out, hm_str_c(verified));
		}
		hm_buf_putc(&out, '}');
	}
	hm_buf_putc(&out, '\n');
	if (rc == 0 && out.err)
		rc = hm_err_set(e, out.err, "out of memory printing the report");
	if (rc == 0)
		fwrite(out.p, 1, out.len, stdout);
	hm_buf_fini(&out);
	return rc;
}

static int failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

#define OPEN_AGAIN (-1)

/* OPEN_AGAIN, before anything is printed: an engine that starts beside us removed a segment of the list we have. */
static int run(struct hm_ledger *l, struct table *t, bool json, bool verify, bool last)
{
	struct hm_err e = {.code = 0}, wrong = {.code = 0};
	struct hm_ledger_balance total;
	bool balanced;
	int rc = hm_ledger_total(l, &total, &e);

	if (rc == 0)
		rc = hm_ledger_each_campaign(l, collect, t, &e);
	if (rc == 0 && t->rc < 0)
		rc = hm_err_set(&e, t->rc, "out of memory reading the balance");
	if (rc == 0 && t->campaign && t->n == 0)
		rc = hm_err_set(&e, HM_ENOENT, "the ledger has no campaign \"%s\"", t->campaign);
	if (rc < 0)
		return failed(&e);
	balanced = hm_ledger_balanced(t->campaign ? &t->rows[0] : &total);
	for (size_t i = 0; i < t->n; i++)
		balanced &= hm_ledger_balanced(&t->rows[i]);
	if (verify)
		rc = hm_ledger_verify(l, &wrong);
	if (rc == HM_ENOENT && !last)
		return OPEN_AGAIN;
	if (json) {
		if (print_json(l, t, &total, verify ? (rc == 0 ? "true" : "false") : NULL, &e) < 0)
			return failed(&e);
	} else {
		print_table(t, &total);
		if (verify && rc == 0)
			printf("verified: the records agree with the counters, every checksum is right\n");
	}
	if (rc < 0)
		return failed(&wrong);
	return verify && !balanced ? 1 : 0;
}

static int usage(void)
{
	printf("usage: hermod report [options]\n\n"
	       "Prints, for each campaign and in total, what became of the accepted messages:\n"
	       "accepted = sent + failed + suppressed + capped + expired + cancelled + pending.\n"
	       "The engine may be running.\n\n"
	       "  --campaign C        only this campaign\n"
	       "  --json              as GET /v1/report answers\n"
	       "  --verify            count all records again first; exit 1 when anything "
	       "disagrees\n"
	       "  --all               the sum over all nodes on the same Redis, asked through their APIs\n"
	       "  --key KEY           for that: an API key with scope read (default: $HERMOD_API_KEY)\n"
	       "  --ledger DIR        the sum over these ledgers; give it once for "
	       "each\n" HM_LEDGER_ARGS_HELP);
	return 0;
}

int hm_cli_report(int argc, char **argv)
{
	struct table t = {.campaign = NULL};
	bool json = false, verify = false, bad = false, all = false;
	const char *dirs[HM_REPORT_LEDGERS], *dir = NULL, *key = NULL, *redis = NULL;
	size_t n_dirs = 0;
	struct hm_ledger_args a;
	struct hm_ledger *l;
	int rc;

	hm_ledger_args_init(&a);
	for (int i = 1; i < argc && !bad; i++) {
		if (hm_wants_help(argv[i]))
			return usage();
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (strcmp(argv[i], "--verify") == 0) {
			verify = true;
		} else if (strcmp(argv[i], "--all") == 0) {
			all = true;
		} else if (hm_option_take("--ledger", &dir, argc, argv, &i, &bad)) {
			if (!bad && n_dirs == HM_REPORT_LEDGERS) {
				fprintf(stderr, "hermod: --ledger can be given %d times\n",
					HM_REPORT_LEDGERS);
				bad = true;
			} else if (!bad) {
				dirs[n_dirs++] = dir;
			}
		} else if (hm_option_take("--key", &key, argc, argv, &i, &bad) ||
			   hm_option_take("--redis", &redis, argc, argv, &i, &bad)) {
			continue;
		} else if (!hm_option_take("--campaign", &t.campaign, argc, argv, &i, &bad) &&
			   !hm_ledger_args_take(&a, argc, argv, &i, &bad)) {
			fprintf(stderr,
				"hermod: report does not know \"%s\"; hermod report --help lists its "
				"options\n",
				argv[i]);
			return 2;
		}
	}
	if (bad)
		return 2;
	if (all && n_dirs > 0) {
		fprintf(stderr, "hermod: give --all or --ledger, not both\n");
		return 2;
	}
	if (all || n_dirs > 0) {
		const struct hm_report_all r = {.conf = &a.conf,
						.redis = redis,
						.key = key,
						.campaign = t.campaign,
						.dirs = dirs,
						.n_dirs = n_dirs,
						.json = json,
						.verify = verify};

		return hm_report_all(&r);
	}
	for (int left = 5;; left--) {
		const struct table asked = t;

		rc = hm_ledger_args_open(&a, &l);
		if (rc != 0)
			return rc;
		hm_arena_init(&t.arena, NULL, 0);
		rc = run(l, &t, json, verify, left == 0);
		hm_arena_fini(&t.arena);
		free(t.rows);
		hm_ledger_close(l);
		if (rc != OPEN_AGAIN)
			return rc;
		t = asked;
	}
}
