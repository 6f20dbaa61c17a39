/*
 * gen.c - entries and JSON
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gen.h"

static const char *const names[] = {"Lin Wei",	     "张伟", "Maria Rossi", "王芳",
				    "Amélie Dubois", "李娜", "John Smith",  "佐藤 健"};

#define LIST_BYTES (512u << 20)

/* The file as it is, and where its lines are. */
static int read_list(struct gen *g, const char *path, struct hm_err *e)
{
	FILE *f = fopen(path, "re");
	struct hm_buf text;
	struct hm_str rest, line;
	size_t n, lines = 0;

	if (f == NULL)
		return hm_err_set(e, HM_EIO, "--addresses %s: %s", path, strerror(errno));
	hm_buf_init(&text, LIST_BYTES);
	while (hm_buf_reserve(&text, 65536) && (n = fread(text.p + text.len, 1, 65536, f)) > 0)
		text.len += n;
	fclose(f);
	for (size_t i = 0; i < text.len; i++)
		lines += text.p[i] == '\n';
	g->list = calloc(lines + 1, sizeof(*g->list));
	if (text.err || g->list == NULL)
		return hm_err_set(e, HM_ENOMEM, "--addresses %s: too large for memory", path);
	rest = hm_buf_str(&text);
	while (hm_str_split(&rest, '\n', &line))
		if (line.len)
			g->list[g->n_list++] = line;
	if (g->n_list == 0)
		return hm_err_set(e, HM_EINVAL, "--addresses %s: there is no line in it", path);
	return 0;
}

int gen_init(struct gen *g, struct opts *o, uint64_t seed, struct hm_err *e)
{
	static const char with_data[] =
		"Hello ${name}, order ${order} has left our warehouse and arrives on Friday.";
	static const char same[] = "Hello, your order has left our warehouse and arrives on Friday.";
	const char *base = o->same ? same : with_data;
	size_t n = strlen(base);

	memset(g, 0, sizeof(*g));
	g->o = o;
	g->seed = seed;
	memcpy(g->text, base, n);
	for (; n < hm_min(o->body_bytes, (uint32_t)sizeof(g->text) - 1); n++)
		g->text[n] = " Thank you for shopping with us."[n % 32];
	g->text[n] = '\0';
	return o->addresses ? read_list(g, o->addresses, e) : 0;
}

/* Shares are met within one round: entry by entry the channel that is furthest behind. */
static struct mix *next_mix(struct gen *g)
{
	struct opts *o = g->o;
	struct mix *best = NULL;
	double best_debt = 0;

	for (size_t i = 0; i < o->n_mix; i++) {
		double debt = (double)(g->made + 1) * o->mix[i].share / o->shares - (double)o->mix[i].made;

		if (best == NULL || debt > best_debt) {
			best = &o->mix[i];
			best_debt = debt;
		}
	}
	return best;
}

static struct hm_str address(const struct gen *g, const struct mix *m, uint64_t i, char *out, size_t cap)
{
	uint64_t h = hm_hash64(&i, sizeof(i), g->seed), h2 = hm_hash64(&h, sizeof(h), 1);
	int n = 0;

	switch (m->kind) {
	case ADDR_APNS:
		/* a leading digit: the simulator keeps letters for tokens with a special answer */
		n = snprintf(out, cap, "0%015llx%016llx%016llx%016llx", (unsigned long long)(h >> 4),
			     (unsigned long long)h2, (unsigned long long)(h ^ h2), (unsigned long long)i);
		break;
	case ADDR_FCM:
		n = snprintf(out, cap, "f%016llx:APA91b%016llx%016llx", (unsigned long long)i,
			     (unsigned long long)h, (unsigned long long)h2);
		break;
	case ADDR_WECOM: n = snprintf(out, cap, "u%010llu", (unsigned long long)i); break;
	case ADDR_WEBHOOK:
		n = snprintf(out, cap, "%s/%llu", g->o->hook_url ? g->o->hook_url : "https://hook.test",
			     (unsigned long long)(i % 64));
		break;
	case ADDR_PHONE:
		/* a prime factor: no two are the same */
		n = snprintf(out, cap, "+861%010llu",
			     (unsigned long long)((i * 2654435761ull + g->seed) % 10000000000ull));
		break;
	case ADDR_EMAIL: n = snprintf(out, cap, "u%llu@mail.test", (unsigned long long)i); break;
	case ADDR_PLAIN: n = snprintf(out, cap, "a%llu", (unsigned long long)i); break;
	case ADDR_LIST: return g->list[i % g->n_list];
	}
	return hm_str_n(out, (size_t)n);
}

static uint32_t entry_size(const struct gen *g, uint32_t max)
{
	uint64_t left = g->o->messages - g->made;

	return (uint32_t)hm_min((uint64_t)max, left);
}

uint32_t gen_entry(struct gen *g, struct hm_buf *b, uint32_t max, struct hm_ulid *id)
{
	const struct opts *o = g->o;
	uint32_t n = entry_size(g, max);
	struct mix *m;
	char buf[160];

	if (n == 0)
		return 0;
	m = next_mix(g);
	hm_ulid_new(id, hm_clock_wall_ms());
	hm_mp_put_map(b, o->template_ref ? 5 : 6);
	hm_mp_key(b, "id");
	hm_mp_put_bin(b, hm_str_n((const char *)id->b, 16));
	hm_mp_key(b, "channel");
	hm_mp_put_str(b, hm_str_c(m->channel));
	hm_mp_key(b, "campaign");
	hm_mp_put_str(b, hm_str_c(o->campaign));
	if (o->template_ref) {
		hm_mp_key(b, "template");
		hm_mp_put_str(b, hm_str_c(o->template_ref));
	} else {
		hm_mp_key(b, "content");
		hm_mp_put_map(b, 2);
		hm_mp_key(b, "title");
		hm_mp_put_str(b, HM_STR("Your order"));
		hm_mp_key(b, "body");
		hm_mp_put_str(b, hm_str_c(g->text));
		hm_mp_key(b, "render");
		hm_mp_put_bool(b, true);
	}
	hm_mp_key(b, "rs");
	hm_mp_put_array(b, n);
	for (uint32_t k = 0; k < n; k++) {
		uint64_t i = g->made + k;

		hm_mp_put_map(b, o->same ? 2 : 3);
		hm_mp_key(b, "addr");
		hm_mp_put_str(b, address(g, m, i, buf, sizeof(buf)));
		hm_mp_key(b, "user");
		hm_mp_put_str(b, hm_str_n(buf, (size_t)snprintf(buf, sizeof(buf), "user-%llu",
								(unsigned long long)i)));
		if (o->same)
			continue;
		hm_mp_key(b, "data");
		hm_mp_put_map(b, 2);
		hm_mp_key(b, "name");
		hm_mp_put_str(b, hm_str_c(names[i % hm_countof(names)]));
		hm_mp_key(b, "order");
		hm_mp_put_u64(b, 100000 + i);
	}
	g->made += n;
	m->made += n;
	return n;
}

static void json_str(struct hm_buf *b, struct hm_str s)
{
	hm_buf_putc(b, '"');
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

uint32_t gen_json(struct gen *g, struct hm_buf *b, uint32_t max)
{
	const struct opts *o = g->o;
	uint32_t n = entry_size(g, max);
	struct mix *m;
	char buf[160];

	if (n == 0)
		return 0;
	m = next_mix(g);
	hm_buf_lit(b, "{\"channel\":");
	json_str(b, hm_str_c(m->channel));
	hm_buf_lit(b, ",\"campaign\":");
	json_str(b, hm_str_c(o->campaign));
	hm_buf_lit(b, ",\"lane\":");
	json_str(b, hm_str_c(hm_lane_name(o->lane)));
	if (o->template_ref) {
		hm_buf_lit(b, ",\"template\":");
		json_str(b, hm_str_c(o->template_ref));
	} else {
		hm_buf_lit(b, ",\"render\":true,\"content\":{\"title\":\"Your order\",\"body\":");
		json_str(b, hm_str_c(g->text));
		hm_buf_putc(b, '}');
	}
	hm_buf_lit(b, ",\"recipients\":[");
	for (uint32_t k = 0; k < n; k++) {
		uint64_t i = g->made + k;

		hm_buf_puts(b, k ? HM_STR(",{\"addr\":") : HM_STR("{\"addr\":"));
		json_str(b, address(g, m, i, buf, sizeof(buf)));
		hm_buf_printf(b, ",\"user\":\"user-%llu\"", (unsigned long long)i);
		if (o->same) {
			hm_buf_putc(b, '}');
			continue;
		}
		hm_buf_lit(b, ",\"data\":{\"name\":");
		json_str(b, hm_str_c(names[i % hm_countof(names)]));
		hm_buf_printf(b, ",\"order\":%llu}}", (unsigned long long)(100000 + i));
	}
	hm_buf_lit(b, "]}");
	g->made += n;
	m->made += n;
	return n;
}
