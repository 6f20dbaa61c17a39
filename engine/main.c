/*
 * main.c - hermod: the commands
 *
 * `hermod run` is the engine (core/engine.c); the rest are tools beside it. Exit
 * codes everywhere: 0 done, 1 failed, 2 wrong use or wrong configuration.
 */
#include <locale.h>
#include <stdio.h>

#include "base/str.h"
#include "cli/adapters.h"
#include "cli/channels.h"
#include "cli/check.h"
#include "cli/dead.h"
#include "cli/enqueue.h"
#include "cli/hold.h"
#include "cli/keys.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/run.h"
#include "cli/schedules.h"
#include "cli/suppressions.h"
#include "cli/templates.h"

static int version(int argc, char **argv)
{
	printf("hermod %s\n", HM_VERSION);
	return 0;
}

static int help(int argc, char **argv);

static const struct command {
	const char *name, *what;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", "start the engine", hm_cli_run},
	{"check", "validate configuration, adapters and templates", hm_cli_check},
	{"enqueue", "put messages from a JSON Lines or CSV file into the queue", hm_cli_enqueue},
	{"report", "the balance: accepted = sent + failed + ... + pending", hm_cli_report},
	{"ledger", "look messages up on disk: get, find, list, dump", hm_cli_ledger},
	{"dead", "dead letters: list, show, count, replay, drop", hm_cli_dead},
	{"campaigns", "resend-failed: what failed of a campaign, once more", hm_cli_campaigns},
	{"pause", "let nothing leave of a campaign, tag, tenant, message or job", hm_cli_pause},
	{"resume", "end a pause", hm_cli_resume},
	{"cancel", "end what has not left of a campaign, tag, tenant, message or job", hm_cli_cancel},
	{"pauses", "what is paused", hm_cli_pauses},
	{"schedules", "recurring schedules: list, show, create, delete, pause, resume, run",
	 hm_cli_schedules},
	{"keys", "API keys: create, list, revoke", hm_cli_keys},
	{"channels", "channels: list, pause, resume", hm_cli_channels},
	{"templates", "managed templates: list, push, pull, diff, publish, test ...", hm_cli_templates},
	{"suppressions", "who must not get what, and consents: list, add, import, export ...",
	 hm_cli_suppressions},
	{"adapters", "list, check and dry-run adapters", hm_cli_adapters},
	{"render", "render a template, or run a file of cases", hm_cli_render},
	{"version", "print the version", version},
	{"help", "print this", help},
};

static void list(FILE *to)
{
	fprintf(to, "hermod - a message hub\n\nusage: hermod COMMAND [options]\n\n");
	for (size_t i = 0; i < hm_countof(commands); i++)
		fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].what);
	fprintf(to, "\nhermod COMMAND --help tells more.\n");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < hm_countof(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown(const char *name)
{
	const char *names[hm_countof(commands) + 1] = {NULL}, *near;

	for (size_t i = 0; i < hm_countof(commands); i++)
		names[i] = commands[i].name;
	near = hm_str_nearest(hm_str_c(name), names);
	fprintf(stderr, "hermod: unknown command \"%.60s\"%s%s%s; hermod help lists them\n", name,
		near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return 2;
}

/* "help check" is "check --help". */
static int help(int argc, char **argv)
{
	char option[] = "--help";
	const struct command *c = argc > 1 ? find(argv[1]) : NULL;
	char *words[] = {argc > 1 ? argv[1] : NULL, option, NULL};

	if (argc > 1 && c == NULL)
		return unknown(argv[1]);
	if (c != NULL && c->run != help && c->run != version)
		return c->run(2, words);
	list(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	const struct command *c;

	(void)setlocale(LC_CTYPE, "C.UTF-8");
	if (argc < 2) {
		list(stderr);
		return 2;
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	if (strcmp(name, "--version") == 0)
		name = "version";
	c = find(name);
	return c ? c->run(argc - 1, argv + 1) : unknown(name);
}
