// Shell completion and the manual page, made from the command tree, so that they never lag behind it.

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "command_tree.h"
#include "exit_code.h"

namespace slipway::ctl {
namespace {

struct Word {
  std::string text;
  std::string what;
  bool takes_value = false;
};
struct Level {
  std::string path;          // verbs before these words, joined by spaces: "" or "route"
  std::vector<Word> words;   // verbs and options that can follow
};

std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> out;
  for (const auto& name : option.get_snames()) {
    out.push_back("-" + name);
  }
  for (const auto& name : option.get_lnames()) {
    out.push_back("--" + name);
  }
  return out;
}

// The values of an option that has a list of them, from the form that the parser shows: TEXT:{one,two}.
std::vector<std::string> choices_of(const CLI::Option& option) {
  std::vector<std::string> out;
  const std::string type = option.get_type_name();
  const auto begin = type.find('{');
  const auto end = type.find('}');
  if (begin == std::string::npos || end == std::string::npos) {
    return out;
  }
  for (std::size_t at = begin + 1; at <= end;) {
    const auto comma = std::min(type.find(',', at), end);
    out.push_back(type.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

void collect(const CLI::App& app, const std::string& path, const std::vector<Word>& global, std::vector<Level>* levels) {
  Level level{path, {}};
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    level.words.push_back({sub->get_name(), sub->get_description()});
  }
  for (const auto* option : app.get_options()) {
    for (const auto& spelling : spellings(*option)) {
      level.words.push_back({spelling, option->get_description(), option->get_items_expected_max() > 0});
    }
    for (const auto& value : option->nonpositional() ? std::vector<std::string>{} : choices_of(*option)) {
      level.words.push_back({value, option->get_description()});
    }
  }
  for (const auto& word : global) {
    if (!path.empty() && std::ranges::find(level.words, word.text, &Word::text) == level.words.end()) {
      level.words.push_back(word);
    }
  }
  levels->push_back(level);
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), global, levels);
  }
}

std::vector<Level> levels_of(const CLI::App& tree) {
  std::vector<Word> global;
  for (const auto* option : tree.get_options()) {
    for (const auto& spelling : spellings(*option)) {
      if (spelling != "-h" && spelling != "--help" && spelling != "--version") {
        global.push_back({spelling, option->get_description(), option->get_items_expected_max() > 0});
      }
    }
  }
  std::vector<Level> levels;
  collect(tree, "", global, &levels);
  return levels;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size()) {
    text.replace(at, what.size(), with);
  }
  return text;
}

// In single quotes of a shell.
std::string shell_quoted(const std::string& text) { return "'" + replaced(text, "'", "'\\''") + "'"; }

// The words before the cursor that are verbs, as bash and zsh functions find them.
constexpr std::string_view kPathLoop =
    "  local path='' word next\n"
    "  for word in \"${before[@]}\"; do\n"
    "    case \"$word\" in -*) continue ;; esac\n"
    "    next=\"${path:+$path }$word\"\n"
    "    case \"$next\" in\n"
    "{0}"
    "    esac\n"
    "  done\n";

std::string known_paths(const std::vector<Level>& levels) {
  std::string out;
  for (const auto& level : levels) {
    if (!level.path.empty()) {
      out += fmt::format("      {}) path=\"$next\" ;;\n", shell_quoted(level.path));
    }
  }
  return out;
}

std::string bash_script(const std::vector<Level>& levels) {
  std::string out = "# bash completion of slipwayctl; made by: slipwayctl completion bash\n_slipwayctl() {\n  local -a before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n";
  out += replaced(std::string(kPathLoop), "{0}", known_paths(levels));
  out += "  local words=''\n  case \"$path\" in\n";
  for (const auto& level : levels) {
    std::string words;
    for (const auto& word : level.words) {
      words += (words.empty() ? "" : " ") + word.text;
    }
    out += fmt::format("    {}) words={} ;;\n", shell_quoted(level.path), shell_quoted(words));
  }
  return out + "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\ncomplete -o default -F _slipwayctl slipwayctl\n";
}

std::string zsh_script(const std::vector<Level>& levels) {
  std::string out = "#compdef slipwayctl\n# zsh completion of slipwayctl; made by: slipwayctl completion zsh\n_slipwayctl() {\n  local -a before=(\"${(@)words[2,CURRENT-1]}\") choices\n";
  out += replaced(replaced(std::string(kPathLoop), "local path=''", "local path_=''"), "{0}", known_paths(levels));
  out = replaced(out, "${path:+$path }", "${path_:+$path_ }");
  out = replaced(out, "path=\"$next\"", "path_=\"$next\"");
  out += "  case \"$path_\" in\n";
  for (const auto& level : levels) {
    out += fmt::format("    {})\n      choices=(\n", level.path.empty() ? "''" : shell_quoted(level.path));
    for (const auto& word : level.words) {
      out += "        " + shell_quoted(word.text + ":" + replaced(word.what, ":", "\\:")) + "\n";
    }
    out += "      ) ;;\n";
  }
  return out + "  esac\n  _describe 'slipwayctl' choices || _files\n}\n"
               "# Loaded from fpath this file is the function's first call; read by `source` it is not.\n"
               "if [ \"${funcstack[1]}\" = _slipwayctl ]; then\n  _slipwayctl \"$@\"\nelse\n  compdef _slipwayctl slipwayctl\nfi\n";
}

std::string fish_script(const std::vector<Level>& levels) {
  std::string out = "# fish completion of slipwayctl; made by: slipwayctl completion fish\n"
                    "# Whether the verbs before the cursor are these. The value of an option is none.\n"
                    "function __slipwayctl_at\n  set -l words (commandline -opc)\n  set -l path ''\n  for word in $words[2..-1]\n"
                    "    string match -q -- '-*' $word; and continue\n    set -l next (string trim -- \"$path $word\")\n    contains -- $next";
  for (const auto& level : levels) {
    out += level.path.empty() ? "" : " " + shell_quoted(level.path);
  }
  out += "; and set path $next\n  end\n  test \"$path\" = \"$argv\"\nend\ncomplete -c slipwayctl -f\n";
  for (const auto& level : levels) {
    const std::string condition = "__slipwayctl_at " + level.path;
    for (const auto& word : level.words) {
      const bool is_long = word.text.starts_with("--");
      const bool is_option = word.text.starts_with("-");
      const std::string spelling = is_long ? "-l " + word.text.substr(2) : is_option ? "-s " + word.text.substr(1) : "-a " + word.text;
      out += fmt::format("complete -c slipwayctl -n {} {}{} -d {}\n", shell_quoted(condition), spelling, word.takes_value ? " -r -F" : "", shell_quoted(word.what));
    }
  }
  return out;
}

std::string roff(const std::string& text) {
  std::string out = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

void options_page(const CLI::App& app, std::string* out) {
  for (const auto* option : app.get_options()) {
    std::string title;
    for (const auto& spelling : spellings(*option)) {
      title += (title.empty() ? "\\fB" : ", \\fB") + roff(spelling) + "\\fR";
    }
    if (option->nonpositional() && option->get_items_expected_max() > 0) {
      title += " \\fI" + roff(option->get_type_name()) + "\\fR";
    }
    if (!option->nonpositional()) {
      title = "\\fI" + roff(option->get_type_name() == "TEXT" ? option->get_single_name() : option->get_type_name()) + "\\fR";
    }
    *out += ".TP\n" + title + "\n" + roff(option->get_description());
    if (!option->get_default_str().empty()) {
      *out += roff(" (default " + option->get_default_str() + ")");
    }
    if (!option->get_envname().empty()) {
      *out += roff("; the environment's " + option->get_envname() + " says it too");
    }
    *out += "\n";
  }
}

void verb_page(const CLI::App& app, const std::string& path, std::string* out) {
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::string name = path.empty() ? sub->get_name() : path + " " + sub->get_name();
    if (sub->get_subcommands([](const CLI::App*) { return true; }).empty()) {
      *out += ".SS " + roff(name) + "\n" + roff(sub->get_description()) + ".\n";
      options_page(*sub, out);
      *out += ".P\n" + roff(sub->get_footer()) + "\n";
    } else {
      verb_page(*sub, name, out);
    }
  }
}

}  // namespace

std::string completion_script(const CLI::App& tree, const std::string& shell) {
  const auto levels = levels_of(tree);
  return shell == "bash" ? bash_script(levels) : shell == "zsh" ? zsh_script(levels) : fish_script(levels);
}

std::string manual_page(const CLI::App& tree) {
  std::string out = ".TH SLIPWAYCTL 1 \"\" \"slipway " SLIPWAY_VERSION "\"\n.SH NAME\nslipwayctl \\- control a slipway node\n";
  out += ".SH SYNOPSIS\n\\fBslipwayctl\\fR [\\fIoptions\\fR] \\fIverb\\fR [\\fIarguments\\fR]\n.SH DESCRIPTION\n" + roff(tree.get_description()) + "\n";
  out += ".SH OPTIONS\n";
  options_page(tree, &out);
  out += ".SH VERBS\n";
  verb_page(tree, "", &out);
  out += ".SH \"EXIT STATUS\"\n";
  for (const auto& code : kExitCodes) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", static_cast<int>(code.code), roff(std::string(code.text)));
  }
  out += ".SH FILES\n.TP\n\\fI/run/slipway/control.sock\\fR\nThe control socket of the system's node. A user's own node has it in\n$XDG_RUNTIME_DIR/slipway or /tmp/slipway\\-UID.\n.SH \"SEE ALSO\"\nslipwayd(8)\n";
  return out;
}

}  // namespace slipway::ctl
