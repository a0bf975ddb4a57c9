#pragma once
// Channels and a store of the tests' own: what is asked waits in a list until turn() lets it happen.

#include <algorithm>
#include <deque>
#include <map>

#include "channel/channels.h"
#include "channel/sealed_store.h"

namespace slipway::test {

struct FakeStore final : SealedStore {
  std::map<std::string, std::string> disk;
  std::string broken;   // not empty: writes fail with it
  std::deque<std::move_only_function<void()>> waiting;

  void put(std::string_view name, std::string_view value, Done done) override {
    waiting.push_back([this, name = std::string(name), value = std::string(value), done = std::move(done)]() mutable {
      if (broken.empty()) {
        disk[name] = value;
      }
      if (done) {
        done(broken.empty() ? std::expected<void, std::string>() : std::unexpected(broken));
      }
    });
  }
  void erase(std::string_view name, Done done) override {
    waiting.push_back([this, name = std::string(name), done = std::move(done)]() mutable {
      disk.erase(name);
      if (done) {
        done({});
      }
    });
  }
  std::vector<std::pair<std::string, std::string>> take_loaded(std::string_view prefix) override {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, value] : disk) {
      if (name.starts_with(prefix)) {
        out.emplace_back(name, value);
      }
    }
    return out;
  }
  void turn() {
    while (!waiting.empty()) {
      auto call = std::move(waiting.front());
      waiting.pop_front();
      call();
    }
  }
};

struct FakeChannels final : Channels {
  std::map<std::string, ChannelRow> rows;
  std::vector<std::string> told;                   // what was asked
  std::optional<ChannelError> refuse;              // every change
  bool from_file = false;
  ChannelCounters counts;
  std::deque<std::move_only_function<void()>> waiting;

  void answer(Done done, std::expected<void, ChannelError> result, std::move_only_function<void()> change = {}) {
    waiting.push_back([done = std::move(done), result = std::move(result), change = std::move(change)]() mutable {
      if (result && change) {
        change();
      }
      done(result);
    });
  }
  std::expected<void, ChannelError> verdict(const TextName& channel, bool there) const {
    if (refuse) {
      return std::unexpected(*refuse);
    }
    if (rows.contains(channel.text()) != there) {
      return std::unexpected(ChannelError{.fault = there ? ChannelFault::kUnknown : ChannelFault::kExists, .about = {}});
    }
    return {};
  }
  void create(const TextName& channel, const ChannelOptions& options, const ChannelAsker& asker, Done done) override {
    told.push_back("create " + channel.text() + (options.mls ? " mls" : "") + " by " + asker.who);
    answer(std::move(done), verdict(channel, false), [this, channel, options] { rows[channel.text()] = {.name = channel, .state = "open", .mls = options.mls}; });
  }
  void remove(const TextName& channel, const ChannelAsker& asker, Done done) override {
    told.push_back("remove " + channel.text() + " by " + asker.who);
    answer(std::move(done), verdict(channel, true), [this, channel] { rows.erase(channel.text()); });
  }
  void invite(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) override {
    told.push_back("invite " + participant.text() + " to " + channel.text() + " by " + asker.who);
    answer(std::move(done), verdict(channel, true), [this, channel, participant] { rows[channel.text()].members.push_back({.name = participant}); });
  }
  void remove_participant(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) override {
    told.push_back("take " + participant.text() + " from " + channel.text() + " by " + asker.who);
    answer(std::move(done), verdict(channel, true), [this, channel, participant] {
      std::erase_if(rows[channel.text()].members, [&](const auto& member) { return member.name == participant; });
    });
  }
  std::vector<ChannelRow> list() const override {
    std::vector<ChannelRow> out;
    for (const auto& [name, row] : rows) {
      out.push_back(row);
    }
    return out;
  }
  std::expected<ChannelRow, ChannelError> show(const TextName& channel) const override {
    const auto at = rows.find(channel.text());
    if (at == rows.end()) {
      return std::unexpected(ChannelError{.fault = ChannelFault::kUnknown, .about = {}});
    }
    return at->second;
  }
  bool file_managed() const override { return from_file; }
  TextName local_name() const override { return parse_name("org/ns/manager/0x1").value(); }
  const ChannelCounters& counters() const override { return counts; }
  void on_event(std::function<void(const ChannelEvent&)>) override {}
  void turn() {
    while (!waiting.empty()) {
      auto call = std::move(waiting.front());
      waiting.pop_front();
      call();
    }
  }
};

}  // namespace slipway::test
