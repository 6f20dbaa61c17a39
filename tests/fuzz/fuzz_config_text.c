/* Any text as a configuration file: loaded and printable, or refused with problems that have a place.
 * References are taken out of the input, so that it cannot read files. */
#include <stdlib.h>

#include "config/config.h"

static void on_problem(void *arg, const struct hm_err *e)
{
	hm_assert(e->text[0] && hm_utf8_valid(hm_str_c(e->text)));
	++*(size_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct hm_config *cfg = NULL;
	size_t problems = 0;
	struct hm_buf out;

	if (text == NULL)
		abort();
	for (size_t i = 0; i < size; i++)
		text[i] = data[i] == '$' ? '_' : (char)data[i];
	if (hm_config_load_text("fuzz", hm_str_n(text, size), NULL, &cfg, on_problem, &problems) == 0) {
		hm_assert(problems == 0);
		hm_buf_init(&out, 64 << 20);
		hm_config_print(cfg, true, &out);
		hm_assert(out.err == 0);
		hm_assert(hm_config_diff(cfg, cfg, NULL, NULL) == 0);
		hm_buf_fini(&out);
		hm_config_unref(cfg);
	} else {
		hm_assert(problems > 0 && cfg == NULL);
	}
	free(text);
	return 0;
}
