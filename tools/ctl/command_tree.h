#pragma once
// The command line: verbs, options, help. The tree is also what shell completion and the manual page are made from.

#include <functional>
#include <memory>

#include <CLI/CLI.hpp>

#include "arguments.h"

namespace slipway::ctl {

// Parsing fills `arguments` and sets `run` to the verb that was chosen. Both must outlive the tree.
std::unique_ptr<CLI::App> make_command_tree(Arguments* arguments, std::function<int()>* run);

std::string completion_script(const CLI::App& tree, const std::string& shell);  // bash, zsh or fish
std::string manual_page(const CLI::App& tree);                                  // roff, section 1

}  // namespace slipway::ctl
