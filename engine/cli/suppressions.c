/*
 * suppressions.c - hermod suppressions: the command line, list, add, remove, count
 */
#include "cli/suppressions.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cli/suppressions_int.h"

#define LIST_DEFAULT 100

static const char usage[] =
	"usage: hermod suppressions list   [WHO] [WHAT] [--limit N] [--json]\n"
	"       hermod suppressions add    WHO [WHAT] [--proof TEXT] [--until TIME] [--since TIME]\n"
	"       hermod suppressions remove WHO [WHAT] [--all]\n"
	"       hermod suppressions import FILE|- [--format csv|jsonl|txt] [--remove] [WHAT] [--proof TEXT] "
	"...\n"
	"       hermod suppressions export [FILE] [--format csv|jsonl] [WHAT]\n"
	"       hermod suppressions count  [WHAT] [--total]\n\n"
	"Who must not get what: addresses and users, for one medium and category or for all. With "
	"--consents\n"
	"the same for the list of those who agreed. WHO is --address A or --user U; WHAT is --medium M,\n"
	"--category C (* is: those for all), --reason R.\n\n"
	"  list                entries, in no order\n"
	"  add                 one entry; without --medium or --category it holds for all of them\n"
	"  remove              exactly that entry, or with --all every one of WHO. An address removed was\n"
	"                      registered again: for a week older proofs do not put it back\n"
	"  import              a file: CSV with a header (address,user,medium,category,reason,proof,by,at,\n"
	"                      until,since), JSON Lines with these keys, or txt, an address per line. May "
	"be\n"
	"                      repeated; options fill in what a line leaves out\n"
	"  export              a file that import reads, on standard output without FILE\n"
	"  count               how many, by reason and medium; with --total of both lists, at once\n\n"
	"  --reason R          unsubscribe, hard_bounce, complaint, invalid_token or manual (default)\n"
	"  --kind address|user list, export, count: only these; import txt: what a line is\n"
	"  --consents          the list of consents\n"
	"  --remove            import: take the entries of the file off the list\n"
	"  --rejects FILE      import: refused lines go there, with line and reason\n"
	"  --no-progress       import: no progress bar\n"
	"  --json              list, count: print JSON\n"
	"  --redis URL         Redis to use instead of the configured one\n" HM_CONF_ARGS_HELP;

/* -- what all commands do ---------------------------------------------------------------------------------- */

int scli_failed(const struct hm_err *e)
{
	fprintf(stderr, "hermod: %s\n", e->text);
	return 1;
}

int scli_open(struct scli *c, const struct scli_args *a)
{
	memset(c, 0, sizeof(*c));
	if (hm_queue_open(&c->q, &a->conf, a->redis))
		return 1;
	c->a = a;
	c->prefix = c->q.cfg->settings.queue.prefix;
	hm_queue_who(c->by);
	return 0;
}

void scli_close(struct scli *c)
{
	hm_queue_close(&c->q);
}

static int wrong(const char *text)
{
	fprintf(stderr, "hermod: %s\n", text);
	return 2;
}

int scli_filter(const struct scli_args *a, struct hm_suppress_filter *f)
{
	const char *address = a->value[SCLI_ADDRESS], *user = a->value[SCLI_USER],
		   *category = a->value[SCLI_CATEGORY];
	struct hm_err e = {0};

	*f = (struct hm_suppress_filter){.consents = a->consents, .medium = HM_SUPPRESS_ANY, .reason = -1};
	if (a->kind && strcmp(a->kind, "address") != 0 && strcmp(a->kind, "user") != 0)
		return wrong("--kind must be address or user");
	if (address && user)
		return wrong("give --address or --user, not both");
	f->addresses = address || (a->kind && strcmp(a->kind, "address") == 0);
	f->users = user || (a->kind && strcmp(a->kind, "user") == 0);
	if (f->addresses && f->users)
		return wrong("--kind does not fit whom is asked for");
	f->subject = hm_str_c(address ? address : user);
	if ((address || user) && f->subject.len == 0)
		return wrong("whom it is about must not be empty");
	if (a->value[SCLI_MEDIUM] && hm_suppress_read_medium(hm_str_c(a->value[SCLI_MEDIUM]), &f->medium, &e))
		return wrong(e.text);
	if (category)
		f->category = strcmp(category, "*") == 0 ? HM_STR("") : hm_str_c(category);
	if (a->value[SCLI_REASON] &&
	    (f->reason = hm_suppress_reason_find(hm_str_c(a->value[SCLI_REASON]))) < 0)
		return wrong("--reason must be unsubscribe, hard_bounce, complaint, invalid_token or manual");
	return 0;
}

struct walking {
	scli_entry_fn fn;
	void *arg;
	char next[HM_SUPPRESS_CURSOR_MAX];
	bool done, stopped;
	struct hm_err *e;
};

static void on_page(void *arg, const struct hm_suppress_entry *v, size_t n, struct hm_str next,
		    const struct hm_err *err)
{
	struct walking *w = arg;

	w->done = true;
	if (err)
		*w->e = *err;
	for (size_t i = 0; i < n && !w->stopped; i++)
		w->stopped = !w->fn(w->arg, &v[i]);
	(void)snprintf(w->next, sizeof(w->next), "%.*s", HM_STRF(next));
}

int scli_walk(struct scli *c, const struct hm_suppress_filter *f, uint32_t page, scli_entry_fn fn, void *arg,
	      struct hm_err *e)
{
	struct walking w = {.fn = fn, .arg = arg, .e = e};

	hm_err_clear(e);
	do {
		char from[HM_SUPPRESS_CURSOR_MAX];

		memcpy(from, w.next, sizeof(from));
		w.done = false;
		hm_suppress_page(c->q.redis, c->prefix, hm_clock_wall_ms(), f, hm_str_c(from), page, on_page,
				 &w);
		while (!w.done)
			hm_queue_turn(&c->q);
	} while (e->code == 0 && !w.stopped && w.next[0]);
	return e->code;
}

struct changing {
	bool done;
	size_t changed;
	struct hm_err *e;
};

static void on_changed(void *arg, size_t changed, const struct hm_err *err)
{
	struct changing *w = arg;

	w->done = true;
	w->changed = changed;
	if (err)
		*w->e = *err;
}

static int finish(struct scli *c, struct changing *w, size_t *changed_r)
{
	while (!w->done)
		hm_queue_turn(&c->q);
	*changed_r = w->changed;
	return w->e->code;
}

/* -- list --------------------------------------------------------------------------------------------------- */

struct listing {
	const struct scli_args *a;
	uint64_t left;
	struct hm_buf line;
	bool any;
};

static void print_human(struct listing *l, const struct hm_suppress_entry *x)
{
	char at[25], until[25];
	bool user = x->kind == HM_SUPPRESS_USER || x->kind == HM_CONSENT_USER;

	hm_clock_rfc3339(x->at_ms, at);
	hm_clock_rfc3339(x->until_ms, until);
	at[19] = until[19] = '\0';
	hm_buf_printf(&l->line, "%-7s  %-12.*s  %-13.*s  %-19s  %-19s  %s %.*s",
		      x->medium < 0 ? "*" : hm_medium_name((enum hm_medium)x->medium),
		      x->category.len ? (int)x->category.len : 1, x->category.len ? x->category.p : "*",
		      x->reason.len ? (int)x->reason.len : 7, x->reason.len ? x->reason.p : "consent", at,
		      x->until_ms ? until : "", user ? "user" : "addr", HM_STRF(x->subject));
	if (x->proof.len)
		hm_buf_printf(&l->line, "  (%.*s)", HM_STRF(x->proof));
	hm_buf_putc(&l->line, '\n');
}

static bool list_entry(void *arg, const struct hm_suppress_entry *x)
{
	struct listing *l = arg;

	hm_buf_reset(&l->line);
	if (l->a->json) {
		hm_suppress_put_json(x, &l->line);
		hm_buf_putc(&l->line, '\n');
	} else {
		if (!l->any)
			hm_buf_printf(&l->line, "%-7s  %-12s  %-13s  %-19s  %-19s  %s\n", "MEDIUM",
				      "CATEGORY", "REASON", "AT", "UNTIL", "WHO");
		print_human(l, x);
	}
	l->any = true;
	(void)fwrite(l->line.p, 1, l->line.len, stdout);
	return --l->left > 0;
}

static int list(const struct scli_args *a)
{
	struct listing l = {.a = a, .left = LIST_DEFAULT};
	struct hm_suppress_filter f;
	struct hm_err e;
	struct scli c;
	int rc = scli_filter(a, &f);

	if (rc)
		return rc;
	if (a->limit && (!hm_str_u64(hm_str_c(a->limit), &l.left) || l.left == 0))
		return wrong("--limit must be a number from 1");
	if (scli_open(&c, a))
		return 1;
	hm_buf_init(&l.line, 64u << 10);
	if (scli_walk(&c, &f, (uint32_t)hm_min(l.left, (uint64_t)1000), list_entry, &l, &e))
		rc = scli_failed(&e);
	else if (l.left == 0)
		fprintf(stderr, "hermod: there may be more; --limit N shows N of them, export all\n");
	else if (!l.any && !a->json)
		fprintf(stderr, "hermod: there is none\n");
	hm_buf_fini(&l.line);
	scli_close(&c);
	return rc;
}

/* -- add, remove ---------------------------------------------------------------------------------------------- */

/* The options as an entry; its texts are the arguments. 0, or 2 after a sentence. */
static int entry_of(const struct scli_args *a, bool as_key, struct hm_suppress_entry *x)
{
	struct hm_buf mp;
	msgpack_zone zone;
	msgpack_object o;
	struct hm_err e = {0};
	uint32_t n = 0;
	int rc;

	for (size_t i = 0; i < SCLI_KEYS; i++)
		n += a->value[i] != NULL;
	hm_buf_init(&mp, 64u << 10);
	hm_mp_put_map(&mp, n);
	for (size_t i = 0; i < SCLI_KEYS; i++)
		if (a->value[i]) {
			hm_mp_put_str(&mp, hm_str_c(hm_suppress_keys[i]));
			hm_mp_put_str(&mp, hm_str_c(a->value[i]));
		}
	if (!msgpack_zone_init(&zone, 1024)) {
		hm_buf_fini(&mp);
		return wrong("out of memory");
	}
	rc = hm_msgpack_decode(&zone, hm_buf_str(&mp), &o, &e);
	if (rc == 0)
		rc = hm_suppress_read(&o, a->consents, as_key, hm_clock_wall_ms(), x, &e);
	if (rc == 0) { /* they must outlive the buffer */
		struct hm_str *const texts[] = {&x->category, &x->reason, &x->proof, &x->by};
		static const int from[] = {SCLI_CATEGORY, SCLI_REASON, SCLI_PROOF, SCLI_BY};

		x->subject = hm_str_c(a->value[a->value[SCLI_ADDRESS] ? SCLI_ADDRESS : SCLI_USER]);
		for (size_t i = 0; i < hm_countof(texts); i++)
			if (texts[i]->len && a->value[from[i]])
				*texts[i] = hm_str_c(a->value[from[i]]);
	}
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&mp);
	return rc == 0 ? 0 : wrong(e.text);
}

static int add(const struct scli_args *a)
{
	struct hm_suppress_entry x;
	struct hm_err e = {0};
	struct changing w = {.e = &e};
	struct scli c;
	size_t changed;
	int rc = entry_of(a, false, &x);

	if (rc || (rc = scli_open(&c, a)) != 0)
		return rc;
	if (x.by.len == 0)
		x.by = hm_str_c(c.by);
	hm_suppress_add(c.q.redis, c.prefix, hm_clock_wall_ms(), &x, 1, on_changed, &w);
	if (finish(&c, &w, &changed))
		rc = scli_failed(&e);
	else
		puts(changed	  ? "added"
		     : x.since_ms ? "nothing changed: it is there, or was removed after --since"
				  : "nothing changed: it is there");
	scli_close(&c);
	return rc;
}

struct gathering {
	struct hm_arena arena;
	struct hm_suppress_entry *v;
	size_t n, cap;
};

static bool gather(void *arg, const struct hm_suppress_entry *x)
{
	struct gathering *g = arg;

	if (g->n == g->cap) {
		size_t cap = hm_max(g->cap * 2, (size_t)16);

		g->v = hm_arena_grow(&g->arena, g->v, g->cap * sizeof(*g->v), cap * sizeof(*g->v));
		if (g->v == NULL)
			hm_panic(__FILE__, __LINE__, __func__, "out of memory");
		g->cap = cap;
	}
	g->v[g->n] = *x;
	g->v[g->n].subject = hm_arena_str(&g->arena, x->subject);
	g->v[g->n].category = hm_arena_str(&g->arena, x->category);
	g->n++;
	return true;
}

static int remove_one(const struct scli_args *a)
{
	struct gathering g = {.n = 0};
	struct hm_suppress_filter f;
	struct hm_suppress_entry x;
	struct hm_err e = {0};
	struct changing w = {.e = &e};
	struct scli c;
	size_t changed = 0;
	int rc = entry_of(a, true, &x);

	if (rc == 0)
		rc = scli_filter(a, &f);
	if (rc || (rc = scli_open(&c, a)) != 0)
		return rc;
	hm_arena_init(&g.arena, NULL, 0);
	if (a->all && scli_walk(&c, &f, 1000, gather, &g, &e)) {
		rc = scli_failed(&e);
	} else if (!a->all || g.n) {
		hm_suppress_remove(c.q.redis, c.prefix, hm_clock_wall_ms(), a->all ? g.v : &x,
				   a->all ? g.n : 1, on_changed, &w);
		if (finish(&c, &w, &changed))
			rc = scli_failed(&e);
	}
	if (rc == 0)
		printf("%zu removed\n", changed);
	hm_arena_fini(&g.arena);
	scli_close(&c);
	return rc;
}

/* -- count ------------------------------------------------------------------------------------------------------ */

struct counting {
	uint64_t n[HM_SUPPRESS_REASONS + 1][HM_MED_COUNT + 1],
		all; /* last: other reasons or none; all media */
};

static bool count_entry(void *arg, const struct hm_suppress_entry *x)
{
	struct counting *k = arg;
	int reason = hm_suppress_reason_find(x->reason);

	k->n[reason < 0 ? HM_SUPPRESS_REASONS : reason][x->medium < 0 ? HM_MED_COUNT : x->medium]++;
	k->all++;
	return true;
}

static void print_counts(const struct counting *k, bool json)
{
	bool first = true;

	if (json)
		printf("{\"total\":%llu,\"counts\":[", (unsigned long long)k->all);
	for (int r = 0; r <= HM_SUPPRESS_REASONS; r++)
		for (int m = 0; m <= HM_MED_COUNT; m++) {
			const char *reason = r < HM_SUPPRESS_REASONS
						     ? hm_suppress_reason_name((enum hm_suppress_reason)r)
						     : "-";
			const char *medium = m < HM_MED_COUNT ? hm_medium_name((enum hm_medium)m) : "*";

			if (k->n[r][m] == 0)
				continue;
			if (json)
				printf("%s{\"reason\":\"%s\",\"medium\":\"%s\",\"n\":%llu}", first ? "" : ",",
				       reason, medium, (unsigned long long)k->n[r][m]);
			else
				printf("%12llu  %-13s  %s\n", (unsigned long long)k->n[r][m], reason, medium);
			first = false;
		}
	if (json)
		printf("]}\n");
	else
		printf("%12llu  total\n", (unsigned long long)k->all);
}

static int count(const struct scli_args *a)
{
	static struct counting k;
	struct hm_suppress_filter f;
	struct hm_err e = {0};
	struct changing w = {.e = &e};
	struct scli c;
	size_t n;
	int rc = scli_filter(a, &f);

	if (rc || (rc = scli_open(&c, a)) != 0)
		return rc;
	if (a->total) {
		hm_suppress_total(c.q.redis, c.prefix, hm_clock_wall_ms(), on_changed, &w);
		if (finish(&c, &w, &n))
			rc = scli_failed(&e);
		else
			printf(a->json ? "{\"total\":%zu}\n" : "%zu\n", n);
	} else if (scli_walk(&c, &f, 5000, count_entry, &k, &e)) {
		rc = scli_failed(&e);
	} else {
		print_counts(&k, a->json);
	}
	scli_close(&c);
	return rc;
}

/* -- the command line --------------------------------------------------------------------------------------------- */

static const struct command {
	const char *name;
	int (*run)(const struct scli_args *a);
	bool file, who; /* takes a file; needs an address or a user */
} commands[] = {
	{"list", list, false, false},	      {"add", add, false, true},
	{"remove", remove_one, false, true},  {"import", scli_import, true, false},
	{"export", scli_export, true, false}, {"count", count, false, false},
};

static bool take_key(struct scli_args *a, int argc, char **argv, int *i, bool *bad)
{
	for (size_t k = 0; k < SCLI_KEYS; k++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "--%s", hm_suppress_keys[k]);
		if (hm_option_take(name, &a->value[k], argc, argv, i, bad))
			return true;
	}
	return false;
}

static bool take_flag(struct scli_args *a, const char *word)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {{"--consents", &a->consents},
		     {"--json", &a->json},
		     {"--all", &a->all},
		     {"--remove", &a->remove},
		     {"--no-progress", &a->no_progress},
		     {"--total", &a->total}};

	for (size_t i = 0; i < hm_countof(flags); i++)
		if (strcmp(word, flags[i].name) == 0) {
			*flags[i].flag = true;
			return true;
		}
	return false;
}

static int parse(struct scli_args *a, const struct command *c, int argc, char **argv)
{
	bool bad = false;

	memset(a, 0, sizeof(*a));
	hm_conf_args_init(&a->conf);
	for (int i = 2; i < argc && !bad; i++) {
		if (hm_conf_args_take(&a->conf, argc, argv, &i, &bad) ||
		    hm_option_take("--redis", &a->redis, argc, argv, &i, &bad) ||
		    hm_option_take("--format", &a->format, argc, argv, &i, &bad) ||
		    hm_option_take("--rejects", &a->rejects, argc, argv, &i, &bad) ||
		    hm_option_take("--limit", &a->limit, argc, argv, &i, &bad) ||
		    hm_option_take("--kind", &a->kind, argc, argv, &i, &bad) ||
		    take_key(a, argc, argv, &i, &bad) || take_flag(a, argv[i]))
			continue;
		if (c->file && !a->file && (argv[i][0] != '-' || strcmp(argv[i], "-") == 0)) {
			a->file = argv[i];
			continue;
		}
		fprintf(stderr,
			"hermod: suppressions %s does not know \"%.80s\"; hermod suppressions --help shows "
			"its use\n",
			c->name, argv[i]);
		bad = true;
	}
	if (bad)
		return 2;
	if (c->who && !a->value[SCLI_ADDRESS] && !a->value[SCLI_USER]) {
		fprintf(stderr, "hermod: suppressions %s needs --address or --user\n", c->name);
		return 2;
	}
	if (a->consents && a->value[SCLI_REASON])
		return wrong("a consent has no reason");
	return 0;
}

int hm_cli_suppressions(int argc, char **argv)
{
	const char *names[hm_countof(commands) + 1] = {NULL}, *near;
	struct scli_args a;
	int rc;

	_Static_assert(SCLI_SINCE + 1 == SCLI_KEYS, "one name for each key");
	for (int i = 1; i < argc; i++)
		if (hm_wants_help(argv[i])) {
			fputs(usage, stdout);
			return 0;
		}
	if (argc < 2) {
		fputs(usage, stderr);
		return 2;
	}
	for (size_t i = 0; i < hm_countof(commands); i++) {
		names[i] = commands[i].name;
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		rc = parse(&a, &commands[i], argc, argv);
		return rc ? rc : commands[i].run(&a);
	}
	near = hm_str_nearest(hm_str_c(argv[1]), names);
	fprintf(stderr,
		"hermod: suppressions has no command \"%.60s\"%s%s%s; hermod suppressions --help lists "
		"them\n",
		argv[1], near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return 2;
}
