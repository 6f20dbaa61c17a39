/*
 * check.c - hermod check: everything that can be wrong before a message is sent
 */
#include <stdio.h>
#include <string.h>

#include "cli/check.h"
#include "cli/conf_args.h"
#include "core/engine.h"
#include "core/preflight.h"
#include "dispatch/runtime.h"

static int usage(void)
{
	printf("usage: hermod check [options]\n\nReads the configuration, the adapters, the channels and the "
	       "templates as `hermod run` "
	       "would, and says what is wrong\nas file:line:column: sentence. Exit code 0: all good, 2: "
	       "something is wrong.\n\n" HM_CONF_ARGS_HELP
	       "  --show              print the settings in effect and who set them\n"
	       "  --options           print every option with its meaning\n");
	return 0;
}

static void print_buf(struct hm_buf *b)
{
	fwrite(b->p, 1, b->len, stdout);
	hm_buf_fini(b);
}

/* Prints a problem and notes the ones that make reading on pointless. */
static void note(void *arg, const struct hm_err *e)
{
	bool *no_folder = arg;

	if (strcmp(e->field, "adapters.dir") == 0 || strcmp(e->field, "templates.dir") == 0)
		*no_folder = true;
	hm_print_error(NULL, e);
}

int hm_cli_check(int argc, char **argv)
{
	struct hm_conf_args c;
	struct hm_config *cfg;
	struct hm_runtime *rt;
	struct hm_template_set *set;
	struct hm_book *book;
	struct hm_buf b;
	bool bad = false, show = false, no_folder = false;

	hm_conf_args_init(&c);
	for (int i = 1; i < argc; i++) {
		if (hm_wants_help(argv[i]))
			return usage();
		if (strcmp(argv[i], "--options") == 0) {
			hm_buf_init(&b, 1u << 20);
			hm_settings_doc(&b);
			print_buf(&b);
			return 0;
		}
		if (strcmp(argv[i], "--show") == 0) {
			show = true;
			continue;
		}
		if (!hm_conf_args_take(&c, argc, argv, &i, &bad)) {
			fprintf(stderr,
				"hermod: check does not know \"%s\"; hermod check --help lists its options\n",
				argv[i]);
			return 2;
		}
		if (bad)
			return 2;
	}
	if (hm_config_load(c.path, c.sets, &cfg, hm_print_error, NULL) != 0)
		return 2;
	if (hm_preflight(cfg, note, &no_folder) > 0)
		bad = true;
	if (show) {
		hm_buf_init(&b, 4u << 20);
		hm_config_print(cfg, true, &b);
		print_buf(&b);
	}
	if (no_folder) { /* nothing to look into, and it has been said */
		hm_config_unref(cfg);
		return 2;
	}
	if (hm_runtime_build(cfg, &rt, hm_print_error, NULL) != 0)
		return 2;
	book = hm_book_new();
	if (book == NULL || hm_engine_load_templates(book, cfg, hm_print_error, NULL) != 0) {
		hm_book_free(book);
		hm_runtime_unref(rt);
		return 2;
	}
	set = hm_book_take(book);
	if (!bad && !show)
		printf("%s: %zu channels, %zu routes, %zu templates: all good\n",
		       c.path ? c.path : "no configuration file, defaults", rt->channels->n,
		       rt->cfg->n_routes, hm_template_set_count(set));
	hm_template_set_unref(set);
	hm_book_free(book);
	hm_runtime_unref(rt);
	return bad ? 2 : 0;
}
