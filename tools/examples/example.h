#pragma once
// What the examples share: the command line, and an application that is connected.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "app/blocking.h"
#include "identity/shared_secret.h"

namespace slipway::example {

// Words, and options of the form --name value, in any order.
struct CommandLine {
  std::vector<std::string> words;
  std::string node = "tcp://127.0.0.1:46367";
  std::string create;  // slipway-chat
  int copies = 1;      // slipway-workers

  CommandLine(int count, char** values) {
    for (int i = 1; i < count; ++i) {
      const std::string_view word = values[i];
      if (!word.starts_with("--") || i + 1 == count) {
        words.emplace_back(word);
      } else if (word == "--node") {
        node = values[++i];
      } else if (word == "--create") {
        create = values[++i];
      } else if (word == "--times") {
        copies = std::atoi(values[++i]);
      } else {
        words.emplace_back(word);
      }
    }
  }
};

[[noreturn]] inline void give_up(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// Takes the value, or says what is wrong and ends.
template <class T>
T get(std::expected<T, AppError> result) {
  if (!result) {
    give_up(result.error().message());
  }
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

inline TextName name_of(const std::string& text) {
  auto name = parse_name(text);
  if (!name) {
    give_up(name.error());
  }
  return *name;
}

// The secret that all applications share comes from the environment: others can read a command line.
inline std::unique_ptr<BlockingApp> connected_app(const std::string& name, const std::string& node) {
  const char* secret = std::getenv("SLIPWAY_SECRET");
  if (secret == nullptr) {
    give_up("SLIPWAY_SECRET is not set: export the same 32 characters or more for all applications, e.g. $(openssl rand -hex 32)");
  }
  auto identity = shared_secret_identity({.base = name, .secret = secret});
  if (!identity) {
    give_up(identity.error().message());
  }
  auto app = get(BlockingApp::create({.name = name_of(name), .identity = std::move(*identity)}));
  get(app->connect({.address = node, .client_name = name}));
  return app;
}

}  // namespace slipway::example
