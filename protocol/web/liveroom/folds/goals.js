/** Goals, as the room's events change them. They outlive a broadcast. */
/** @import { Folds } from "../room.js" */

/** @type {Folds["totals"]} */
export const totals = {
  "goals.changed": (room, { goals }) => { room.goals = goals; },
  "goals.progressed": (room, { goal, others = [] }) => {
    const now = new Map([goal, ...others].map((each) => [each.id, each]));
    room.goals = room.goals.map((each) => now.get(each.id) ?? each);
  },
  "goals.reached": (room, event) => {
    room.goals = room.goals.map((each) => (each.id === event.id ? { ...each, reached: true } : each));
  },
};
