/*
 * webpush.c - what Web Push costs
 *
 *   micro_webpush
 *
 * Microseconds of processor time per message: the encryption for a browser (a key pair, an agreement, the cipher) for bodies of 100,
 * 1000 and 3900 bytes, a VAPID token that is signed, and one that is kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "adapter/webpush.h"

#define ROUNDS 20000

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void need(int rc, const struct hm_err *e)
{
	if (rc != 0) {
		fprintf(stderr, "micro_webpush: %s\n", e->text);
		exit(1);
	}
}

int main(void)
{
	static const size_t sizes[] = {100, 1000, 3900};
	static char text[4000];
	struct hm_buf point, auth, out;
	struct hm_key *key;
	struct hm_err e;
	double start;

	hm_err_clear(&e);
	hm_buf_init(&point, 256);
	hm_buf_init(&auth, 64);
	hm_buf_init(&out, 1 << 16);
	if (!hm_buf_unbase64(
		    &point,
		    HM_STR("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRp"
			   "kNtoIAiw4")) ||
	    !hm_buf_unbase64(&auth, HM_STR("BTBZMqHH6r4Tts7J_aSIgg")))
		return 1;
	for (size_t s = 0; s < hm_countof(sizes); s++) {
		start = cpu_us();
		for (int i = 0; i < ROUNDS; i++) {
			hm_buf_reset(&out);
			need(hm_webpush_encrypt(hm_buf_str(&point), hm_buf_str(&auth), HM_STR(""), HM_STR(""),
						hm_str_n(text, sizes[s]), &out, &e),
			     &e);
		}
		printf("encrypt %4zu bytes  %6.1f us\n", sizes[s], (cpu_us() - start) / ROUNDS);
	}
	need(hm_key_parse(HM_STR("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "key", &key, &e), &e);
	for (int kept = 0; kept < 2; kept++) {
		start = cpu_us();
		for (int i = 0; i < ROUNDS; i++) {
			hm_buf_reset(&out);
			need(hm_vapid(key, HM_STR("https://push.example.net/1"),
				      HM_STR("mailto:ops@example.com"),
				      1700000000 + (kept ? 0 : (uint64_t)i * HM_VAPID_USE_S), &out, &e),
			     &e);
		}
		printf("token %-11s  %6.1f us\n", kept ? "kept" : "signed", (cpu_us() - start) / ROUNDS);
	}
	hm_key_free(key);
	hm_buf_fini(&point);
	hm_buf_fini(&auth);
	hm_buf_fini(&out);
	return 0;
}
