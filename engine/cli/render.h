/*
 * render.h - hermod render: a template on the command line
 *
 * hermod render --template F [--data F] [--format plain|html|xml|json] [--locale L] [--timezone Z]
 *               [--single-brace] [--fields] [--code]
 * hermod render --cases FILE.jsonl
 * F may be - for standard input. Exit codes: 0 done; 1 the template or its data is wrong; 2 wrong use.
 */
#ifndef HM_CLI_RENDER_H
#define HM_CLI_RENDER_H

int hm_cli_render(int argc, char **argv);

#endif
