/*
 * adapters.c - hermod adapters list | check | dry-run
 *
 * Nothing here talks to a provider or to Redis: these commands are for writing an
 * adapter, filling in a channel and comparing requests with a provider's manual.
 */
#include "cli/adapters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapter/dryrun.h"
#include "base/clock.h"
#include "base/json.h"
#include "cli/conf_args.h"

static const char usage[] =
	"usage: hermod adapters list [--json] [--dir DIR]\n"
	"       hermod adapters check FILE...\n"
	"       hermod adapters dry-run ADAPTER --channel FILE --message FILE [options]\n\n"
	"list      what is there and which settings a channel on it needs\n"
	"check     reads adapter files and says what is wrong, as file:line:column: sentence\n"
	"dry-run   prints the exact requests a message would cause: method, URL, headers, body; then what\n"
	"          was measured, cut and noticed on the way\n\n"
	"  --dir DIR           folder of adapter files (default: the one that came with the program)\n"
	"  --json              print JSON\n"
	"  --channel FILE      YAML with the channel's settings, as they stand in the configuration\n"
	"  --message FILE      YAML or JSON: to (address or list), title, body, format, url, image, "
	"buttons, data, options, expires, id\n"
	"  --at UNIX_TIME      pretend this is now (seconds)\n"
	"  --nonce TEXT        use this where a random text would stand\n"
	"  --token TEXT        use this token where one would be fetched\n"
	"  --show-secrets      print secrets instead of ***\n"
	"ADAPTER is a name (push/apns) or an adapter file.\n";

struct args {
	const char *dir, *channel, *message, *at, *nonce, *token, *adapter;
	bool json, show_secrets;
	const char *const *files;
	int n_files;
};

static void print_error(void *arg, const struct hm_err *e)
{
	char text[900];

	hm_err_format(e, text, sizeof(text));
	fprintf(stderr, "%s\n", text);
}

static bool parse(struct args *a, int argc, char **argv)
{
	static const char *words[1024]; /* a shell writes out adapters/ with all its files */
	bool bad = false;

	memset(a, 0, sizeof(*a));
	a->files = words;
	for (int i = 2; i < argc && !bad; i++) {
		if (hm_option_take("--dir", &a->dir, argc, argv, &i, &bad) ||
		    hm_option_take("--channel", &a->channel, argc, argv, &i, &bad) ||
		    hm_option_take("--message", &a->message, argc, argv, &i, &bad) ||
		    hm_option_take("--at", &a->at, argc, argv, &i, &bad) ||
		    hm_option_take("--nonce", &a->nonce, argc, argv, &i, &bad) ||
		    hm_option_take("--token", &a->token, argc, argv, &i, &bad))
			continue;
		if (strcmp(argv[i], "--json") == 0) {
			a->json = true;
		} else if (strcmp(argv[i], "--show-secrets") == 0) {
			a->show_secrets = true;
		} else if (argv[i][0] != '-' && a->n_files < (int)hm_countof(words)) {
			words[a->n_files++] = argv[i];
		} else {
			fprintf(stderr,
				"hermod: adapters does not know \"%s\"; hermod adapters --help shows its "
				"use\n",
				argv[i]);
			bad = true;
		}
	}
	a->adapter = a->n_files ? words[0] : NULL;
	return !bad;
}

static void flush(struct hm_buf *b)
{
	if (b->len)
		fwrite(b->p, 1, b->len, stdout);
	hm_buf_fini(b);
}

static struct hm_adapter_set *load_set(const struct args *a)
{
	struct hm_adapter_set *set = NULL;
	char dir[4096];

	hm_adapter_dir(hm_str_c(a->dir), dir, sizeof(dir));
	if (hm_adapter_set_load(hm_str_c(dir), &set, print_error, NULL) != 0)
		return NULL;
	return set;
}

static int list(const struct args *a)
{
	struct hm_adapter_set *set = load_set(a);
	struct hm_buf b;

	if (set == NULL)
		return 2;
	hm_buf_init(&b, 64u << 20);
	if (a->json)
		hm_buf_putc(&b, '[');
	for (size_t i = 0; i < hm_adapter_set_len(set); i++) {
		if (a->json && i)
			hm_buf_lit(&b, ",\n");
		if (a->json)
			hm_adapter_describe(set, i, &b);
		else
			hm_adapter_line(set, i, &b);
	}
	if (a->json)
		hm_buf_lit(&b, "]\n");
	flush(&b);
	hm_adapter_set_unref(set);
	return 0;
}

static int check(const struct args *a)
{
	struct hm_buf b;
	int rc = 0;

	if (a->n_files == 0) {
		fprintf(stderr, "hermod: adapters check needs at least one file\n");
		return 2;
	}
	hm_buf_init(&b, 1u << 20);
	for (int i = 0; i < a->n_files; i++)
		if (!hm_adapter_check_file(a->files[i], &b, print_error, NULL))
			rc = 2;
	flush(&b);
	return rc;
}

/* ADAPTER as a file: anything that ends in .yaml. */
static struct hm_adapter_set *adapter_of(const struct args *a, struct hm_str *name_r)
{
	struct hm_adapter_set *set;

	*name_r = hm_str_c(a->adapter);
	if (!hm_str_ends(*name_r, HM_STR(".yaml")))
		return load_set(a);
	set = hm_adapter_set_of_file(a->adapter, print_error, NULL);
	if (set != NULL)
		*name_r = hm_adapter_name(set, 0);
	return set;
}

static int print_requests(const struct args *a, const struct hm_channel_set *channels, uint64_t wall_ms)
{
	struct hm_dryrun d = {.channel = channels->v[0], .show_secrets = a->show_secrets, .wall_ms = wall_ms};
	struct hm_buf bytes, out;
	msgpack_object message;
	msgpack_zone zone;
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	d.nonce = hm_str_c(a->nonce);
	d.token = hm_str_c(a->token);
	d.message = &message;
	hm_buf_init(&bytes, 16u << 20);
	hm_buf_init(&out, 64u << 20);
	msgpack_zone_init(&zone, 8192);
	rc = hm_dryrun_message(a->message, &bytes, &e);
	if (rc == 0)
		rc = hm_msgpack_decode(&zone, hm_buf_str(&bytes), &message, &e);
	if (rc != 0) {
		print_error(NULL, &e);
		rc = 2;
	} else if (hm_dryrun(&d, &out, &e) != 0) {
		print_error(NULL, &e);
		rc = 1;
	}
	if (out.len)
		fwrite(out.p, 1, out.len, stdout);
	msgpack_zone_destroy(&zone);
	hm_buf_fini(&out);
	hm_buf_fini(&bytes);
	return rc;
}

static int dry_run(const struct args *a)
{
	struct hm_channel_set *channels;
	struct hm_adapter_set *set;
	struct hm_str name;
	uint64_t at = 0;
	int rc = 2;

	if (a->adapter == NULL || a->n_files != 1 || a->channel == NULL || a->message == NULL) {
		fprintf(stderr,
			"hermod: adapters dry-run needs ADAPTER, --channel FILE and --message FILE\n");
		return 2;
	}
	if (a->at && (!hm_str_u64(hm_str_c(a->at), &at) || at > 253402300799ull)) {
		fprintf(stderr, "hermod: --at expects a Unix time in seconds, not \"%s\"\n", a->at);
		return 2;
	}
	set = adapter_of(a, &name);
	if (set == NULL)
		return 2;
	channels = hm_dryrun_channel(set, name, a->channel, print_error, NULL);
	if (channels != NULL)
		rc = print_requests(a, channels, a->at ? at * 1000 : hm_clock_wall_ms());
	hm_channel_set_unref(channels);
	hm_adapter_set_unref(set);
	return rc;
}

int hm_cli_adapters(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct args a;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(usage, stdout);
			return 0;
		}
	if (strcmp(what, "list") != 0 && strcmp(what, "check") != 0 && strcmp(what, "dry-run") != 0) {
		if (*what)
			fprintf(stderr, "hermod: adapters has no \"%s\"\n", what);
		fputs(usage, stderr);
		return 2;
	}
	if (!parse(&a, argc, argv))
		return 2;
	if (strcmp(what, "list") == 0)
		return list(&a);
	return strcmp(what, "check") == 0 ? check(&a) : dry_run(&a);
}
