// The proof of the campaign: known bugs are planted one by one, and each must be found.
#pragma once

#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "campaign.hpp"
#include "platform/planted.hpp"

namespace dbos::sim {

/// A line of planted.txt: the first seed of the campaign that finds the bug, and what it then says.
struct Find {
    seam::Bug bug{};
    std::uint64_t seed = 0;
    std::string says;
};

std::optional<seam::Bug> find_bug(std::string_view name);
const char* name_of(seam::Bug bug);
/// Throws std::runtime_error on a line that is none.
std::vector<Find> read_finds(std::istream& in);

/// `play` runs one seed with what is planted.
using Play = std::function<Outcome(std::uint64_t seed, Tasks tasks)>;
/// The first seed from `campaign.first` on that fails with the bug; nothing if none of `campaign.worlds` does.
std::optional<Find> hunt(seam::Bug bug, Campaign campaign, const Play& play);
/// Plays the seeds with their bugs, which must fail, and without, which must not. What is wrong, in words; empty = nothing.
/// Any change of the engine may move the seed that finds a bug: with `further`, one of so many worlds behind it will do.
std::vector<std::string> prove(const std::vector<Find>& finds, unsigned jobs, std::uint64_t further,
                               const Play& play);

}  // namespace dbos::sim
