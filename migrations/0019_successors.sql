-- The shop that goes on in an erased one's place: whoever handles its compliance is still shown that the old one was erased.
ALTER TABLE former_shops ADD COLUMN goes_on_as uuid;
CREATE INDEX former_shops_by_successor ON former_shops (goes_on_as);
