/* shells.c - completions for bash, zsh and fish, and the page for man.
 * All words are the table's own (run/job_options.c), so a new option is completed and described
 * the moment it exists. Each syntax has its signs, which `put` quotes. */
#include "cmd/shells.h"

#include <string.h>

/* Whether --help would show this row for this verb; verb NULL: for any. */
static int shows(const lt_option *row, const lt_verb *verb)
{
    return (row->traits & LT_OPT_HIDDEN) == 0 && row->type != LT_OPT_LIST &&
           (verb == NULL || (row->verbs & verb->bit) != 0);
}

static int takes_value(const lt_option *row) { return row->type != LT_OPT_FLAG; }

static int is_folder(const lt_option *row)
{
    return row->value_name != NULL && strcmp(row->value_name, "DIR") == 0;
}

/* "a|b|c" with between in place of each bar. */
static void put_choices(FILE *to, const char *choices, const char *between)
{
    for (const char *c = choices; *c != '\0'; c++)
        (void)fprintf(to, "%.*s", (int)(*c == '|' ? strlen(between) : 1), *c == '|' ? between : c);
}

/* The help's first clause, for a menu of one line; signs are put behind escape, a quote is left
 * out. */
static void put_short(FILE *to, const char *help, const char *signs, const char *escape)
{
    for (const char *c = help; *c != '\0' && *c != ';' && !(*c == '.' && c[1] == ' '); c++)
        if (*c != '\'')
            (void)fprintf(to, "%s%c", strchr(signs, *c) != NULL ? escape : "", *c);
}

/* ---- bash ---- */

static void bash_values(FILE *to)
{
    for (int i = 0; i < lt_job_option_count; i++) {
        const lt_option *row = &lt_job_options[i];
        if (!shows(row, NULL) || !takes_value(row))
            continue;
        (void)fprintf(to, "    --%s%s%c) ", row->name, row->short_key != 0 ? " | -" : "",
                      row->short_key != 0 ? row->short_key : ' ');
        if (row->choices != NULL) {
            (void)fputs("COMPREPLY=($(compgen -W \"", to);
            put_choices(to, row->choices, " ");
            (void)fputs("\" -- \"$cur\")); return ;;\n", to);
        } else {
            (void)fprintf(to, "%sreturn ;;\n",
                          is_folder(row)
                              ? "compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "
                                "\"$cur\"); "
                              : "");
        }
    }
}

static void bash(FILE *to, const lt_verb *const *verbs, size_t count)
{
    (void)fputs("# Completion of longtake for bash: source it, or put it into\n"
                "# share/bash-completion/completions/longtake.\n"
                "_longtake() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n"
                "    COMPREPLY=()\n"
                "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                "        COMPREPLY=($(compgen -W \"",
                to);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(to, "%s ", verbs[i]->name);
    (void)fputs("help --help --version\" -- \"$cur\"))\n"
                "        return\n"
                "    fi\n"
                "    case $prev in\n",
                to);
    bash_values(to);
    (void)fputs("    esac\n    case ${COMP_WORDS[1]} in\n", to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, "    %s) words=\"%s", verbs[i]->name,
                      verbs[i]->words != NULL ? verbs[i]->words : "");
        for (int k = 0; k < lt_job_option_count; k++)
            if (shows(&lt_job_options[k], verbs[i]))
                (void)fprintf(to, " --%s", lt_job_options[k].name);
        (void)fputs("\" ;;\n", to);
    }
    (void)fputs("    *) return ;;\n"
                "    esac\n"
                "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                "}\n"
                "complete -o default -F _longtake longtake\n",
                to);
}

/* ---- zsh ---- */

static void zsh_row(FILE *to, const lt_option *row)
{
    (void)fprintf(to, " \\\n        '--%s%s[", row->name, takes_value(row) ? "=" : "");
    put_short(to, row->help, "[]:\\", "\\");
    (void)fputc(']', to);
    if (takes_value(row)) {
        (void)fprintf(to, ":%s:", row->value_name != NULL ? row->value_name : "value");
        if (row->choices != NULL) {
            (void)fputc('(', to);
            put_choices(to, row->choices, " ");
            (void)fputc(')', to);
        } else {
            (void)fputs(is_folder(row)             ? "_files -/"
                        : row->type == LT_OPT_PATH ? "_files"
                                                   : " ",
                        to);
        }
    }
    (void)fputc('\'', to);
}

static void zsh(FILE *to, const lt_verb *const *verbs, size_t count)
{
    (void)fputs("#compdef longtake\n"
                "# Completion of longtake for zsh: put it as _longtake into a folder of $fpath.\n"
                "_longtake() {\n"
                "    local -a verbs=(\n",
                to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, "        '%s:", verbs[i]->name);
        put_short(to, verbs[i]->summary, ":\\", "\\");
        (void)fputs("'\n", to);
    }
    (void)fputs("    )\n"
                "    if (( CURRENT == 2 )); then\n"
                "        _describe verb verbs\n"
                "        return\n"
                "    fi\n"
                "    local verb=$words[2]\n"
                "    shift words\n"
                "    (( CURRENT-- ))\n"
                "    case $verb in\n",
                to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, "    %s) _arguments", verbs[i]->name);
        for (int k = 0; k < lt_job_option_count; k++)
            if (shows(&lt_job_options[k], verbs[i]))
                zsh_row(to, &lt_job_options[k]);
        if (verbs[i]->words != NULL)
            (void)fprintf(to, " \\\n        '*:word:(%s)' ;;\n", verbs[i]->words);
        else
            (void)fputs(" \\\n        '*:file:_files' ;;\n", to);
    }
    (void)fputs("    esac\n}\n_longtake \"$@\"\n", to);
}

/* ---- fish ---- */

static void fish(FILE *to, const lt_verb *const *verbs, size_t count)
{
    (void)fputs(
        "# Completion of longtake for fish: put it into vendor_completions.d/longtake.fish.\n"
        "complete -c longtake -n __fish_use_subcommand -f\n",
        to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, "complete -c longtake -n __fish_use_subcommand -a %s -d '",
                      verbs[i]->name);
        put_short(to, verbs[i]->summary, "\\", "\\");
        (void)fputs("'\n", to);
        if (verbs[i]->words != NULL)
            (void)fprintf(to,
                          "complete -c longtake -n '__fish_seen_subcommand_from %s' -f -a '%s'\n",
                          verbs[i]->name, verbs[i]->words);
        for (int k = 0; k < lt_job_option_count; k++) {
            const lt_option *row = &lt_job_options[k];
            if (!shows(row, verbs[i]))
                continue;
            (void)fprintf(to, "complete -c longtake -n '__fish_seen_subcommand_from %s' -l %s",
                          verbs[i]->name, row->name);
            if (row->short_key != 0)
                (void)fprintf(to, " -s %c", (char)row->short_key);
            if (row->choices != NULL) {
                (void)fputs(" -x -a '", to);
                put_choices(to, row->choices, " ");
                (void)fputc('\'', to);
            } else if (takes_value(row)) {
                (void)fputs(" -r", to);
            }
            (void)fputs(" -d '", to);
            put_short(to, row->help, "\\", "\\");
            (void)fputs("'\n", to);
        }
    }
}

int lt_shell_completion(FILE *to, const char *shell, const lt_verb *const *verbs, size_t count)
{
    if (strcmp(shell, "bash") == 0)
        bash(to, verbs, count);
    else if (strcmp(shell, "zsh") == 0)
        zsh(to, verbs, count);
    else if (strcmp(shell, "fish") == 0)
        fish(to, verbs, count);
    else
        return 0;
    return 1;
}

/* ---- man ---- */

/* Text that troff takes for text; a newline stays one. */
static void put_roff(FILE *to, const char *text)
{
    int begins = 1;
    for (const char *c = text; *c != '\0'; c++) {
        if (begins && (*c == '.' || *c == '\''))
            (void)fputs("\\&", to);
        begins = *c == '\n';
        if (*c == '\\')
            (void)fputs("\\e", to);
        else if (*c == '-')
            (void)fputs("\\-", to);
        else
            (void)fputc(*c, to);
    }
}

/* Lines that begin with blanks are a table and stay as they are; the others are filled. */
static void put_intro(FILE *to, const char *text)
{
    char line[512];
    int table = 0;
    while (*text != '\0') {
        const size_t n = strcspn(text, "\n");
        (void)snprintf(line, sizeof line, "%.*s", (int)n, text);
        if (table != (line[0] == ' '))
            (void)fputs(table ? ".fi\n" : ".nf\n", to);
        table = line[0] == ' ';
        put_roff(to, line);
        (void)fputs(n > 0 ? "\n" : ".PP\n", to);
        text += n + (text[n] == '\n');
    }
    if (table)
        (void)fputs(".fi\n", to);
}

/* A list of the job file, which is no flag. */
static void man_list(FILE *to, const lt_option *row)
{
    (void)fputs(".TP\n\\fB", to);
    put_roff(to, row->name);
    (void)fputs(":\\fR\n", to);
    put_roff(to, row->help);
    (void)fputs(" Job file only.\n", to);
}

static void man_option(FILE *to, const lt_option *row, const lt_verb *const *verbs, size_t count)
{
    const char *before = " Of ";
    (void)fputs(".TP\n", to);
    if (row->short_key != 0)
        (void)fprintf(to, "\\fB\\-%c\\fR, ", (char)row->short_key);
    (void)fputs("\\fB\\-\\-", to);
    put_roff(to, row->name);
    (void)fputs("\\fR", to);
    if (takes_value(row)) {
        (void)fputs(" \\fI", to);
        put_roff(to, row->value_name != NULL ? row->value_name : "VALUE");
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
    put_roff(to, row->help);
    (void)fputc('.', to);
    if (row->choices != NULL) {
        (void)fputs(" One of ", to);
        put_choices(to, row->choices, ", ");
        (void)fputc('.', to);
    }
    if (row->default_text != NULL && takes_value(row))
        (void)fprintf(to, " Default: %s.", row->default_text);
    for (size_t i = 0; i < count; i++)
        if (row->verbs & verbs[i]->bit) {
            (void)fprintf(to, "%s%s", before, verbs[i]->name);
            before = ", ";
        }
    (void)fputs(".\n", to);
}

void lt_shell_man(FILE *to, const lt_verb *const *verbs, size_t count)
{
    (void)fputs(".TH LONGTAKE 1 \"\" \"longtake " LT_VERSION "\" \"User Commands\"\n"
                ".SH NAME\nlongtake \\- text to long video with synchronised sound\n"
                ".SH SYNOPSIS\n",
                to);
    for (size_t i = 0; i < count; i++) {
        (void)fputs(i > 0 ? ".br\n" : "", to);
        put_roff(to, verbs[i]->usage);
        (void)fputc('\n', to);
    }
    (void)fputs(".SH DESCRIPTION\n"
                "Renders long video with synchronised sound from open diffusion transformers, "
                "alone, under mpirun or in a Slurm job.\n",
                to);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(to, ".SS longtake %s\n", verbs[i]->name);
        put_intro(to, verbs[i]->intro);
    }
    (void)fputs(".SH OPTIONS\nA long option is a key of the job file too, unless it is a flag "
                "about the run itself; a flag wins.\n",
                to);
    for (int k = 0; k < lt_job_option_count; k++)
        if (lt_job_options[k].type == LT_OPT_LIST)
            man_list(to, &lt_job_options[k]);
        else if (shows(&lt_job_options[k], NULL))
            man_option(to, &lt_job_options[k], verbs, count);
    (void)fputs(".SH EXIT STATUS\n"
                "0 done; 64 usage, 65 bad data, 66 no input, 69 unavailable, 70 a bug of ours, 73 "
                "and 74 output; 75 stopped or a rank lost: \\fBlongtake render "
                "\\-\\-resume RUN\\fR goes on.\n"
                ".SH ENVIRONMENT\n.TP\nLONGTAKE_NODE\nnames a rank's node where the host's name "
                "does not tell.\n"
                ".SH EXAMPLES\n.nf\n",
                to);
    for (size_t i = 0; i < count; i++)
        put_roff(to, verbs[i]->examples);
    (void)fputs(".fi\n", to);
}
