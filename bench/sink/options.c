/*
 * options.c - the command line from its table
 */
#include "options.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "profile.h"

enum opt_type { T_TEXT, T_LIST, T_NUM, T_BYTES, T_TIME, T_BOOL, T_GROUP };

struct opt_row {
	enum opt_type type;
	const char *flag, *arg, *def, *doc;
	size_t offset;
	uint64_t num, min, max;
};

static const struct opt_row rows[] = {
#define OPT_TEXT(field, flag, arg, def, doc) \
	{T_TEXT, flag, arg, def, doc, offsetof(struct sink_options, field), 0, 0, 0},
#define OPT_LIST(field, flag, arg, doc) \
	{T_LIST, flag, arg, NULL, doc, offsetof(struct sink_options, field), 0, 0, 0},
#define OPT_NUM(field, flag, arg, def, min, max, doc) \
	{T_NUM, flag, arg, NULL, doc, offsetof(struct sink_options, field), def, min, max},
#define OPT_BYTES(field, flag, arg, def, doc) \
	{T_BYTES, flag, arg, def, doc, offsetof(struct sink_options, field), 0, 0, 0},
#define OPT_TIME(field, flag, arg, def, doc) \
	{T_TIME, flag, arg, def, doc, offsetof(struct sink_options, field), 0, 0, 0},
#define OPT_BOOL(field, flag, doc) \
	{T_BOOL, flag, NULL, NULL, doc, offsetof(struct sink_options, field), 0, 0, 0},
#define OPT_GROUP(title) {T_GROUP, NULL, NULL, NULL, title, 0, 0, 0, 0},
#include "tbl_options.h"
};

static void *field_of(struct sink_options *o, const struct opt_row *r)
{
	return (char *)o + r->offset;
}

/* Folds `text` at blanks so that lines stay below 100 columns. */
static void print_folded(const char *text, int indent, int col)
{
	const char *sp;

	while (*text) {
		size_t n = (size_t)((sp = strchr(text, ' ')) ? sp - text : (ptrdiff_t)strlen(text));

		if (col > indent && col + 1 + (int)n > 98) {
			printf("\n%*s", indent, "");
			col = indent;
		} else if (col > indent) {
			putchar(' ');
			col++;
		}
		printf("%.*s", (int)n, text);
		col += (int)n;
		text += n + (sp ? 1 : 0);
	}
	putchar('\n');
}

static void help(void)
{
	printf("hermod-sink %s - plays providers of push, chat, mail and SMS, counts every message "
	       "it is "
	       "given\n\n"
	       "usage: hermod-sink [--listen ADDR:PORT] [--tls-listen ADDR:PORT] [--smtp ADDR:PORT]\n"
	       "                   [--smpp ADDR:PORT] [--control ADDR:PORT] [options]\n",
	       HM_VERSION);
	for (size_t i = 0; i < hm_countof(rows); i++) {
		const struct opt_row *r = &rows[i];
		char left[64], doc[512], def[64] = "";

		if (r->type == T_GROUP) {
			printf("\n%s:\n", r->doc);
			continue;
		}
		snprintf(left, sizeof(left), "  --%s%s%s", r->flag, r->arg ? " " : "", r->arg ? r->arg : "");
		if (r->type == T_NUM)
			snprintf(def, sizeof(def), " (default %llu)", (unsigned long long)r->num);
		else if (r->def)
			snprintf(def, sizeof(def), " (default %s)", r->def);
		else if (r->type == T_LIST)
			snprintf(def, sizeof(def), " (may be repeated)");
		snprintf(doc, sizeof(doc), "%s%s", r->doc, def);
		if (strlen(left) > 33)
			printf("%s\n%34s", left, "");
		else
			printf("%-34s", left);
		print_folded(doc, 34, 34);
	}
	printf("  %-32sthis text\n  %-32sthe version\n\nProfiles (all at once, chosen by path or port):\n",
	       "--help", "--version");
	for (unsigned i = 1; i < sink_profile_count(); i++) {
		printf("  %-10s", sink_profile_name(i));
		print_folded(sink_profile_get(i)->what, 12, 12);
	}
	printf("\nExample:\n  hermod-sink --tls-listen 127.0.0.1:8443 --control 127.0.0.1:8099 --cert-dir "
	       "./certs\n"
	       "  curl --cacert certs/ca.pem https://localhost:8443/echo\n"
	       "  curl http://127.0.0.1:8099/control/ledger\n");
}

static int set_value(struct sink_options *o, const struct opt_row *r, const char *v, struct hm_err *e)
{
	uint64_t n = 0;
	bool ok = true;

	switch (r->type) {
	case T_TEXT: *(const char **)field_of(o, r) = v; return 0;
	case T_LIST: {
		struct opt_list *l = field_of(o, r);

		if (l->n == OPT_MAX_LIST)
			return hm_err_set(e, HM_ELIMIT, "--%s was given more than %d times", r->flag,
					  OPT_MAX_LIST);
		l->v[l->n++] = v;
		return 0;
	}
	case T_BOOL: *(bool *)field_of(o, r) = true; return 0;
	case T_NUM: ok = hm_str_u64(hm_str_c(v), &n) && n >= r->min && n <= r->max; break;
	case T_BYTES: ok = hm_str_bytes(hm_str_c(v), &n); break;
	case T_TIME: ok = hm_str_duration_ms(hm_str_c(v), &n); break;
	case T_GROUP: break;
	}
	if (!ok && r->type == T_NUM)
		return hm_err_set(e, HM_EINVAL, "--%s '%s' is not a whole number from %llu to %llu", r->flag,
				  v, (unsigned long long)r->min, (unsigned long long)r->max);
	if (!ok)
		return hm_err_set(e, HM_EINVAL, "--%s '%s' is not %s", r->flag, v,
				  r->type == T_BYTES ? "a size such as 64KiB or 16MiB"
						     : "a time such as 500ms, 30s or 5m");
	*(uint64_t *)field_of(o, r) = n;
	return 0;
}

static const struct opt_row *find(const char *name, size_t len)
{
	for (size_t i = 0; i < hm_countof(rows); i++)
		if (rows[i].flag && strlen(rows[i].flag) == len && memcmp(rows[i].flag, name, len) == 0)
			return &rows[i];
	return NULL;
}

static int parse(struct sink_options *o, int argc, char **argv, struct hm_err *e)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *eq;
		const struct opt_row *r;
		int rc;

		if (strncmp(a, "--", 2) != 0)
			return hm_err_set(e, HM_EINVAL, "unexpected argument '%s', try hermod-sink --help",
					  a);
		eq = strchr(a, '=');
		r = find(a + 2, eq ? (size_t)(eq - a - 2) : strlen(a + 2));
		if (!r)
			return hm_err_set(e, HM_EINVAL, "unknown option '%s', try hermod-sink --help", a);
		if (r->type == T_BOOL && eq)
			return hm_err_set(e, HM_EINVAL, "--%s takes no value", r->flag);
		if (r->type != T_BOOL && !eq && i + 1 >= argc)
			return hm_err_set(e, HM_EINVAL, "--%s needs a value (%s)", r->flag, r->arg);
		rc = set_value(o, r, r->type == T_BOOL ? "" : eq ? eq + 1 : argv[++i], e);
		if (rc)
			return rc;
	}
	if (!o->listen && !o->tls_listen && !o->smtp && !o->smpp)
		return hm_err_set(
			e, HM_EINVAL,
			"give --listen, --tls-listen, --smtp or --smpp (or several), for example --listen "
			"127.0.0.1:8080");
	for (size_t i = 0; i < o->smtp_user.n; i++)
		if (!strchr(o->smtp_user.v[i], ':'))
			return hm_err_set(e, HM_EINVAL, "--smtp-user '%s' is not USER:PASSWORD",
					  o->smtp_user.v[i]);
	for (size_t i = 0; i < o->smpp_user.n; i++)
		if (!strchr(o->smpp_user.v[i], ':'))
			return hm_err_set(e, HM_EINVAL, "--smpp-user '%s' is not ID:PASSWORD",
					  o->smpp_user.v[i]);
	if (!o->cert != !o->key)
		return hm_err_set(e, HM_EINVAL, "--cert and --key go together");
	return 0;
}

enum options_verdict options_parse(struct sink_options *o, int argc, char **argv)
{
	struct hm_err e;
	int rc;

	hm_err_clear(&e);
	memset(o, 0, sizeof(*o));
	for (size_t i = 0; i < hm_countof(rows); i++) {
		if (rows[i].type == T_NUM)
			*(uint64_t *)field_of(o, &rows[i]) = rows[i].num;
		else if (rows[i].def) {
			rc = set_value(o, &rows[i], rows[i].def, &e);
			hm_assert(rc == 0);
		}
	}
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			help();
			return OPTIONS_EXIT_0;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("hermod-sink %s\n", HM_VERSION);
			return OPTIONS_EXIT_0;
		}
	}
	if (parse(o, argc, argv, &e) == 0)
		return OPTIONS_RUN;
	fprintf(stderr, "hermod-sink: %s\n", e.text);
	return OPTIONS_EXIT_2;
}

int addr_parse(const char *text, struct addr *a_r, struct hm_err *e)
{
	const char *colon = strrchr(text, ':');
	struct hm_str host = colon ? hm_str_n(text, (size_t)(colon - text)) : HM_STR_NULL;
	struct hm_str port = hm_str_c(colon ? colon + 1 : text);
	unsigned char bin[16];
	uint64_t n;

	if (host.len >= 2 && host.p[0] == '[' && host.p[host.len - 1] == ']')
		host = hm_str_n(host.p + 1, host.len - 2);
	if (host.len == 0 || hm_str_is(host, "localhost"))
		host = HM_STR("127.0.0.1");
	if (!hm_str_u64(port, &n) || n > 65535 || host.len >= sizeof(a_r->host))
		return hm_err_set(e, HM_EINVAL, "'%s' is not ADDRESS:PORT", text);
	memcpy(a_r->host, host.p, host.len);
	a_r->host[host.len] = '\0';
	a_r->port = (uint16_t)n;
	if (inet_pton(AF_INET, a_r->host, bin) != 1 && inet_pton(AF_INET6, a_r->host, bin) != 1)
		return hm_err_set(e, HM_EINVAL, "'%s' is not ADDRESS:PORT with a numeric address", text);
	return 0;
}
