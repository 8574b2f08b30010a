#include "plan.hpp"

#include <map>
#include <set>

#include "worker.hpp"

namespace archive {

namespace {

using Statuses = std::map<std::string, std::string>;

Statuses statuses_of(dbos::Client& client, const std::string& prefix) {
    Statuses statuses;
    for (const auto& workflow :
         client.list_workflows({.workflow_id_prefix = prefix, .load_input = false, .load_output = false})) {
        statuses[workflow.workflow_id] = workflow.status;
    }
    return statuses;
}

bool is_lost(const std::string& status) {
    return dbos::is_terminal(status) && status != dbos::Status::success;
}

// The first of base, base~2, base~3 … that may still succeed or has.
std::string usable_id(const std::string& base, const Statuses& statuses) {
    std::string id = base;
    for (int attempt = 2;; ++attempt) {
        const auto found = statuses.find(id);
        if (found == statuses.end() || !is_lost(found->second)) return id;
        id = base + '~' + std::to_string(attempt);
    }
}

// A finished parent whose manifest was replaced or removed since is no use; another one writes it again.
bool manifest_is_current(dbos::Client& client, const std::string& tree_id, const Options& options) {
    const Summary summary = client.retrieve_workflow(ArchiveTree, tree_id).get_result();
    const auto manifest = options.out / "manifest.json";
    return stamp_of(manifest) && hash_file(manifest) == summary.manifest_sha256;
}

}  // namespace

std::string archive_key(const Options& options, const std::string& out_id) {
    return sha256_of(options.directory.native() + '\0' + options.out.native() + '\0' + out_id).substr(0, 12);
}

Plan make_plan(const Options& options, const std::string& key, const Walk& walk, dbos::Client& client) {
    const Statuses statuses = statuses_of(client, key + '-');
    Plan plan{.key = key};
    plan.tree = {.root = options.directory, .out = options.out, .file_queue = file_queue(key)};

    Sha256 everything;
    std::set<std::string> planned;
    const auto note = [&](const std::string& id) {
        planned.insert(id);
        plan.known += statuses.count(id);
    };
    for (const FoundFile& file : walk.files) {
        const std::string identity =
            file.path + '\0' + std::to_string(file.size) + '\0' + std::to_string(file.mtime_ns);
        const std::string id = usable_id(key + "-file-" + sha256_of(identity).substr(0, 20), statuses);
        plan.tree.files.push_back({file.path, file.size, file.mtime_ns, id});
        everything.add(id);
        note(id);
    }

    const std::string base = key + "-tree-" + everything.hex().substr(0, 20);
    plan.tree_id = usable_id(base, statuses);
    for (int again = 2;
         statuses.count(plan.tree_id) != 0 && statuses.at(plan.tree_id) == dbos::Status::success; ++again) {
        plan.complete = manifest_is_current(client, plan.tree_id, options);
        if (plan.complete) break;
        plan.tree_id = usable_id(base + "~m" + std::to_string(again), statuses);
    }
    note(plan.tree_id);

    for (const auto& [id, status] : statuses) {
        if (!dbos::is_terminal(status) && planned.count(id) == 0) plan.superseded.push_back(id);
    }
    return plan;
}

}  // namespace archive
