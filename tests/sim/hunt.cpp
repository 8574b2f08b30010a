#include "hunt.hpp"

#include <sstream>
#include <stdexcept>

namespace dbos::sim {

namespace {

/// Without the place in its world, on one line.
std::string brief(const std::string& what) {
    std::string text = what.substr(0, what.find("  [seed "));
    for (char& c : text) {
        if (c == '\n') c = ' ';
    }
    constexpr std::size_t kLongest = 200;
    return text.size() > kLongest ? text.substr(0, kLongest) + "…" : text;
}

}  // namespace

std::optional<seam::Bug> find_bug(std::string_view name) {
    for (int i = 1; i < static_cast<int>(seam::Bug::count); ++i) {
        if (name == seam::kBugs[i].name) return static_cast<seam::Bug>(i);
    }
    return std::nullopt;
}

const char* name_of(seam::Bug bug) { return seam::kBugs[static_cast<int>(bug)].name; }

std::vector<Find> read_finds(std::istream& in) {
    std::vector<Find> finds;
    for (std::string line; std::getline(in, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::istringstream words(line);
        std::string name;
        Find find;
        if (!(words >> name >> find.seed) || !find_bug(name))
            throw std::runtime_error("expected the name of a planted bug and a seed, got: " + line);
        find.bug = *find_bug(name);
        std::getline(words >> std::ws, find.says);
        finds.push_back(std::move(find));
    }
    return finds;
}

std::optional<Find> hunt(seam::Bug bug, Campaign campaign, const Play& play) {
    // Batches before the one that fails are played to their end: the least seed that fails is the first one.
    campaign.most_failures = 1;
    const auto result = run_campaign(campaign, [&](std::uint64_t seed, Tasks tasks) {
        planted_bug = bug;
        return play(seed, tasks);
    });
    if (result.failures.empty()) return std::nullopt;
    const auto& [seed, what] = *result.failures.begin();
    return Find{bug, seed, brief(what)};
}

std::vector<std::string> prove(const std::vector<Find>& finds, unsigned jobs, std::uint64_t further,
                               const Play& play) {
    const std::size_t worlds = finds.size() * 2;
    const auto result = run_campaign({.first = 0,
                                      .worlds = worlds,
                                      .jobs = jobs,
                                      .batch = 1,
                                      .most_failures = static_cast<unsigned>(worlds)},
                                     [&](std::uint64_t number, Tasks tasks) {
                                         const Find& find = finds[number / 2];
                                         if (number % 2 == 0) planted_bug = find.bug;
                                         return play(find.seed, tasks);
                                     });
    std::vector<std::string> wrong;
    for (std::size_t i = 0; i < finds.size(); ++i) {
        const std::string seed = "seed " + std::to_string(finds[i].seed);
        const Campaign behind{.first = finds[i].seed + 1, .worlds = further, .jobs = jobs};
        if (!result.failures.contains(2 * i) && (further == 0 || !hunt(finds[i].bug, behind, play)))
            wrong.push_back(seed + " does not find the planted bug " + name_of(finds[i].bug));
        if (const auto found = result.failures.find(2 * i + 1); found != result.failures.end())
            wrong.push_back(seed + " fails without a planted bug: " + found->second);
    }
    return wrong;
}

}  // namespace dbos::sim
