// Edits of others, which the page shows without being loaded anew. Every answer about tasks and progress says how
// far the log has come (`last_edit`), and which edit last changed the voxels of supervoxels (`last_voxel_edit`).

import { get, onNews } from "./api.js";

const AT_ONCE = 500;

/**
 * Follows the log of edits.
 *
 * @param project what /api/project says.
 * @param onVoxels called with the number of an edit that changed voxels; gives a promise.
 * @param onNeurons called with the IDs of neurons that changed; gives a promise.
 * @returns own: called with the number of an edit that this page made, and has shown already.
 */
export function followChanges(project, { onVoxels, onNeurons }) {
  let known = project.last_edit;
  let voxels = project.last_voxel_edit;
  let latest = project;
  let isWorking = false;
  const mine = new Set();

  function hear(news) {
    if (news.last_edit > latest.last_edit) latest = news;
    if (known < latest.last_edit) work();
  }

  async function work() {
    if (isWorking) return;
    isWorking = true;
    try {
      while (known < latest.last_edit) await catchUp(latest);
    } catch {
      // The banner tells of it; the next answer brings it again.
    } finally {
      isWorking = false;
    }
  }

  async function catchUp(news) {
    const edits = await editsOfOthers(news.last_edit);
    if (edits.length && news.last_voxel_edit > voxels) await onVoxels(news.last_voxel_edit);
    voxels = Math.max(voxels, news.last_voxel_edit);
    known = news.last_edit;
    if (edits.length) await onNeurons(edits.flatMap((each) => [...each.neurons_before, ...each.neurons_after]));
  }

  async function editsOfOthers(last) {
    const numbers = Array.from({ length: last - known }, (_, index) => known + 1 + index);
    if (numbers.every((number) => mine.delete(number))) return [];
    const { edits } = await get(`/api/edits?after=${known}&limit=${AT_ONCE}`);
    return edits;
  }

  onNews(hear);
  return { own: (number) => mine.add(Number(number)) };
}
