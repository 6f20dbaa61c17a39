/*
 * refs.c - ${env:NAME} and ${file:PATH}
 *
 * Secrets stay out of the configuration file: it only says where they are. What a
 * reference brings in is marked and never printed, not even in an error.
 */
#include "config/config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define REF_MAX_BYTES (256u * 1024u) /* a certificate chain fits; a log file named by mistake does not */

static int put_env(struct hm_buf *b, const char *name, struct hm_err *e)
{
	const char *value = getenv(name);

	if (value == NULL)
		return hm_err_set(e, HM_ECONFIG, "${env:%s}: the environment has no %s", name, name);
	hm_buf_puts(b, hm_str_c(value));
	return 0;
}

static int put_file(struct hm_buf *b, const char *path, struct hm_err *e)
{
	size_t start = b->len;
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return hm_err_set(e, HM_ECONFIG, "${file:%s}: cannot be opened: %s", path, strerror(errno));
	while (hm_buf_reserve(b, 4096)) {
		ssize_t n = read(fd, b->p + b->len, 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = hm_err_set(e, HM_ECONFIG, "${file:%s}: cannot be read: %s", path,
					strerror(errno));
		if (n <= 0)
			break;
		b->len += (size_t)n;
	}
	close(fd);
	if (b->len > start && b->p[b->len - 1] == '\n')
		b->len--;
	if (b->len > start && b->p[b->len - 1] == '\r')
		b->len--;
	return rc;
}

int config_resolve(struct hm_arena *a, struct hm_str text, struct hm_str *out_r, bool *secret_r,
		   struct hm_err *e)
{
	struct hm_buf b;
	size_t from = 0;
	int rc = 0;

	*secret_r = false;
	*out_r = text;
	if (hm_str_find(text, HM_STR("${")) < 0)
		return 0;
	hm_buf_init(&b, REF_MAX_BYTES);
	while (from < text.len && rc == 0) {
		struct hm_str rest = hm_str_n(text.p + from, text.len - from);
		ptrdiff_t dollar = hm_str_find(rest, HM_STR("${")), close_at;
		bool env, file;
		char name[512];
		struct hm_str inner;

		if (dollar < 0)
			dollar = (ptrdiff_t)rest.len;
		hm_buf_put(&b, rest.p, (size_t)dollar);
		from += (size_t)dollar;
		rest = hm_str_n(rest.p + dollar, rest.len - (size_t)dollar);
		if (rest.len == 0)
			break;
		env = hm_str_starts(rest, HM_STR("${env:"));
		file = hm_str_starts(rest, HM_STR("${file:"));
		if (!env && !file) { /* a placeholder of somebody else's language */
			hm_buf_put(&b, rest.p, 2);
			from += 2;
			continue;
		}
		if (b.len && b.err == 0 && b.p[b.len - 1] == '$') { /* $${env: stands for ${env: */
			b.len--;
			hm_buf_put(&b, rest.p, 2);
			from += 2;
			continue;
		}
		close_at = hm_str_chr(rest, '}');
		inner = hm_str_n(rest.p + (env ? 6 : 7), close_at < 0 ? 0 : (size_t)close_at - (env ? 6 : 7));
		if (inner.len == 0 || inner.len >= sizeof(name)) {
			rc = hm_err_set(e, HM_ECONFIG, "a reference is written ${env:NAME} or ${file:PATH}");
			break;
		}
		memcpy(name, inner.p, inner.len);
		name[inner.len] = '\0';
		rc = env ? put_env(&b, name, e) : put_file(&b, name, e);
		*secret_r = true;
		from += (size_t)close_at + 1;
	}
	if (rc == 0 && b.err)
		rc = hm_err_set(e, HM_ECONFIG, "the referenced text is larger than %u bytes", REF_MAX_BYTES);
	if (rc == 0) {
		*out_r = hm_arena_str(a, hm_buf_str(&b));
		if (out_r->p == NULL)
			rc = hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	if (b.p)
		explicit_bzero(b.p, b.cap);
	hm_buf_fini(&b);
	return rc;
}

/* Recursion is bounded by HM_YAML_MAX_DEPTH. */
void config_resolve_tree(struct config_load *l, struct hm_yaml *n)
{
	struct hm_err e;

	for (struct hm_yaml *c = n->first; c; c = c->next)
		config_resolve_tree(l, c);
	if (n->type != HM_YAML_SCALAR)
		return;
	if (config_resolve(&l->cfg->arena, n->text, &n->text, &n->secret, &e) < 0) {
		char text[sizeof(e.text)];

		memcpy(text, e.text, sizeof(text));
		hm_yaml_err(n, &e, HM_ECONFIG, "%s", text);
		config_problem(l, &e);
		n->text = HM_STR("");
		n->type = HM_YAML_NULL;
		n->secret = true; /* so that the missing value is not complained about a second time */
	} else if (n->secret) {
		n->quoted = n->quoted || n->text.len == 0;
	}
}
