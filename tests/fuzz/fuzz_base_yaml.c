/* YAML: a tree whose nodes all have a place inside the text, or a sentence with one. */
#include <stdlib.h>

#include "base/yaml.h"

static void walk(const struct hm_yaml *n, unsigned depth)
{
	size_t len = 0;

	hm_assert(depth <= HM_YAML_MAX_DEPTH + 1 && n->line >= 1 && n->col >= 1 && n->file);
	hm_assert(n->type != HM_YAML_SCALAR || n->text.p[n->text.len] == '\0');
	for (const struct hm_yaml *c = n->first; c; c = c->next, len++) {
		hm_assert(n->type == HM_YAML_SEQ || n->type == HM_YAML_MAP);
		hm_assert((n->type == HM_YAML_MAP) == (c->key.p != NULL));
		walk(c, depth + 1);
	}
	hm_assert(len == n->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hm_yaml *root = NULL;
	struct hm_arena a;
	struct hm_err e;

	hm_arena_init(&a, NULL, 0);
	if (hm_yaml_parse(&a, "fuzz", hm_str_n((const char *)data, size), &root, &e) == 0)
		walk(root, 0);
	else
		hm_assert(e.text[0] && root == NULL);
	hm_arena_fini(&a);
	return 0;
}
