/*
 * conf_args.c - finding the configuration
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/conf_args.h"

void hm_conf_args_init(struct hm_conf_args *c)
{
	static const char *const places[] = {"hermod.yaml", "/etc/hermod/hermod.yaml"};
	const char *env = getenv("HERMOD_CONFIG");

	memset(c, 0, sizeof(*c));
	if (env != NULL && env[0] != '\0') {
		c->path = env;
		return;
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && c->path == NULL; i++)
		if (access(places[i], F_OK) == 0)
			c->path = places[i];
}

bool hm_wants_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

bool hm_option_take(const char *name, const char **value_r, int argc, char **argv, int *i, bool *bad)
{
	size_t n = strlen(name);
	const char *a = argv[*i];

	if (strncmp(a, name, n) != 0 || (a[n] != '\0' && a[n] != '='))
		return false;
	if (a[n] == '=') {
		*value_r = a + n + 1;
	} else if (*i + 1 < argc) {
		*value_r = argv[++*i];
	} else {
		fprintf(stderr, "hermod: %s needs a value\n", name);
		*bad = true;
	}
	return true;
}

bool hm_conf_args_take(struct hm_conf_args *c, int argc, char **argv, int *i, bool *bad)
{
	const char *a = argv[*i], *value = NULL;
	bool config = strncmp(a, "--config", 8) == 0 && (a[8] == '\0' || a[8] == '=');
	bool set = strncmp(a, "--set", 5) == 0 && (a[5] == '\0' || a[5] == '=');

	if (!config && !set)
		return false;
	if (strchr(a, '=') != NULL)
		value = strchr(a, '=') + 1;
	else if (*i + 1 < argc)
		value = argv[++*i];
	if (value == NULL || value[0] == '\0') {
		fprintf(stderr, "hermod: %s needs a value\n", config ? "--config" : "--set");
		*bad = true;
		return true;
	}
	if (config) {
		c->path = value;
	} else if (strchr(value, '=') == NULL) {
		fprintf(stderr, "hermod: --set takes section.key=value, not \"%.80s\"\n", value);
		*bad = true;
	} else if (c->n_sets == HM_CONF_SETS_MAX) {
		fprintf(stderr, "hermod: --set may be given at most %d times\n", HM_CONF_SETS_MAX);
		*bad = true;
	} else {
		c->sets[c->n_sets++] = value;
	}
	return true;
}
